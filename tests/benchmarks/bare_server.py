"""The bar for puts: an aiohttp handler that reads the body and answers with a number."""

import sys
from itertools import count

import uvloop
from aiohttp import web


async def serve(port: int) -> None:
    numbers = count(1)

    async def handle(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(text=str(next(numbers)))

    async def ready(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    app = web.Application()
    app.add_routes([web.get("/readyz", ready), web.post("/api/predict/{service}", handle)])
    await web._run_app(app, host="127.0.0.1", port=port, access_log=None, print=None)


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
