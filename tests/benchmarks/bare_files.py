"""The baseline for files: a server that stores bodies and returns them, and a job's four transfers.

python -m tests.benchmarks.bare_files <port> <folder>
"""

import asyncio
import sys
from pathlib import Path

import aiohttp
import uvloop
from aiohttp import web

PIECE_BYTES = 1024 * 1024


async def serve(port: int, folder: Path) -> None:
    """Store what is posted to a name, and send what was stored there."""

    async def store(request: web.Request) -> web.Response:
        path = folder / request.match_info["name"]
        with path.open("wb") as file:
            async for piece in request.content.iter_any():
                file.write(piece)
        return web.Response(text=path.name)

    async def send(request: web.Request) -> web.FileResponse:
        return web.FileResponse(folder / request.match_info["name"])

    async def ready(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    app = web.Application(client_max_size=2**40)
    routes = [web.get("/readyz", ready), web.post("/{name}", store), web.get("/{name}", send)]
    app.add_routes(routes)
    await web._run_app(app, host="127.0.0.1", port=port, access_log=None, print=None)


async def copy_there_and_back(url: str, source: Path, folder: Path, name: str) -> None:
    """Make the moves of a job: put, fetch by the worker, result of the worker, read."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session:
        for there, here, back in (
            (f"{url}/{name}-in", source, folder / f"{name}-fetched"),
            (f"{url}/{name}-out", folder / f"{name}-fetched", folder / f"{name}-read"),
        ):
            with here.open("rb") as file:
                async with session.post(there, data=file) as answer:
                    assert answer.status == 200, answer.status
            with back.open("wb") as file:
                async with session.get(there, read_bufsize=PIECE_BYTES) as answer:
                    async for piece in answer.content.iter_any():
                        file.write(piece)


def remove(*folders: Path, name: str) -> None:
    """Remove what the moves have left."""
    for folder in folders:
        for path in folder.glob(f"{name}-*"):
            path.unlink()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(int(sys.argv[1]), Path(sys.argv[2])))
