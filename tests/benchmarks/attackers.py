"""Attackers for bench_attacks: `python -m tests.benchmarks.attackers NAME PORT`, until killed.

They run in a process of their own, so that what they cost the service is not what they cost the
client that measures; they do share the machine's cores with both.
"""

import asyncio
import contextlib
import sys
from collections.abc import Callable, Coroutine

from client_sdk.wire import names
from queue_service.process.open_files import raise_limit
from tests.running import TOKEN
from tests.waiting import pace

#: Said once everything is in place.
READY = "attacking"

QUEUE = f"{names.EAS_PREFIX}/svc"

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def idle(port: int) -> None:
    """Ten thousand connections that say nothing; those that are ended come again."""
    kept = [await asyncio.open_connection("127.0.0.1", port) for _ in range(10_000)]
    print(READY, flush=True)
    while True:
        for number, (reader, writer) in enumerate(kept):
            if reader.at_eof():
                writer.close()
                kept[number] = await asyncio.open_connection("127.0.0.1", port)
        await pace(1)


async def slow_heads(port: int) -> None:
    """A thousand heads of which a byte comes every second."""
    kept = [await asyncio.open_connection("127.0.0.1", port) for _ in range(1000)]
    print(READY, flush=True)
    while True:
        for number, (_, writer) in enumerate(kept):
            if writer.is_closing():
                kept[number] = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"G")
            if number % 20 == 0:
                await pace(0.02)


async def wrong_tokens(port: int) -> None:
    """A thousand requests a second with a wrong token."""
    streams = [await asyncio.open_connection("127.0.0.1", port) for _ in range(20)]
    guess = f"POST {QUEUE} HTTP/1.1\r\nHost: [::]\r\nAuthorization: no\r\nContent-Length: 0\r\n\r\n"
    print(READY, flush=True)
    while True:
        for reader, writer in streams:
            writer.write(guess.encode())
            await reader.readuntil(b"Authorization header")
        await pace(0.02)


async def silent_watches(port: int) -> None:
    """Twenty watches of a full queue that read nothing and stay alive."""
    streams = []
    for _ in range(20):
        # The streams have a small limit, at which they stop reading: the kernel's buffers fill.
        streams.append(await _socket(port, f"{names.EAS_PREFIX}/full?_watch_=true&_window_=10000"))
    print(READY, flush=True)
    while True:
        for _, writer in streams:
            writer.write(b"\x89\x80\x00\x00\x00\x00")
        await pace(1)


async def endless_message(port: int) -> None:
    """Messages without an end, one after the other, as fast as they are taken."""
    print(READY, flush=True)
    piece = b"\xff" + (1024 * 1024).to_bytes(8) + bytes(4 + 1024 * 1024)
    while True:
        _, writer = await _socket(port, names.WORK_PATH.format(service="svc"))
        with contextlib.suppress(ConnectionError):
            writer.write(b"\x02" + piece)
            for _ in range(1024):
                writer.write(b"\x00" + piece)
                await writer.drain()
        writer.close()
        await pace(0.1)


async def _socket(port: int, target: str) -> Streams:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=4096)
    writer.write(
        f"GET {target} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {TOKEN}\r\n"
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
    )
    await reader.readuntil(b"\r\n\r\n")
    return reader, writer


ATTACKS: dict[str, Callable[[int], Coroutine[object, object, None]]] = {
    attack.__name__: attack
    for attack in (idle, slow_heads, wrong_tokens, silent_watches, endless_message)
}

if __name__ == "__main__":
    raise_limit()
    asyncio.run(ATTACKS[sys.argv[1]](int(sys.argv[2])))
