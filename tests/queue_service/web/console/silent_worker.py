"""A worker that reports a load, and takes jobs without answering them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from client_sdk.cancellation import end_task
from client_sdk.wire import versions
from client_sdk.wire import worker as wire
from client_sdk.wire.load import Load
from client_sdk.wire.names import WORK_PATH


@asynccontextmanager
async def silent_worker(
    url: str, service: str, uid: str, load: Load, *, token: str, window: int = 1, gpu: str = ""
) -> AsyncIterator[None]:
    """Connect a worker for the time of the block."""
    hello = wire.Hello(
        protocol=versions.PROTOCOL,
        uid=uid,
        window=window,
        engine="python",
        version="1.0",
        host="gpu-7",
        pid=4711,
        gpu=gpu,
        load=load,
    )
    headers = {"Authorization": token}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.ws_connect(url + WORK_PATH.format(service=service)) as socket,
    ):
        await socket.send_bytes(wire.encode_from_worker(hello))
        await socket.receive_bytes()
        # Pings are answered while something reads.
        reading = asyncio.create_task(_read(socket))
        yield
        await end_task(reading)


async def _read(socket: aiohttp.ClientWebSocketResponse) -> None:
    async for _ in socket:
        pass
