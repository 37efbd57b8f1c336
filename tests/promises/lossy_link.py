"""A link to Redis that can lose an answer: the command is carried out, and nobody hears of it."""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

from queue_service.store.prelude import read_sources


class LossyLink:
    """Forwards connections to Redis; `lose` cuts one when the answer to a verb is on its way."""

    def __init__(self, redis_url: str) -> None:
        self._to = urlsplit(redis_url)
        self._digests = {
            verb: hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest().encode()
            for verb, source in read_sources().items()
        }
        self._to_lose: bytes | None = None
        self.lost = 0
        self.url = ""

    def lose(self, verb: str) -> None:
        """Lose the next answer to this verb."""
        self._to_lose = self._digests[verb]

    @asynccontextmanager
    async def open(self) -> AsyncIterator["LossyLink"]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        secret = f"{self._to.username or ''}:{self._to.password}@" if self._to.password else ""
        self.url = f"redis://{secret}127.0.0.1:{port}{self._to.path}"
        try:
            yield self
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection(self._to.hostname, self._to.port)
        losing = asyncio.Event()
        tasks = [
            asyncio.create_task(self._send(reader, there[1], losing)),
            asyncio.create_task(self._answer(there[0], writer, losing)),
        ]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            for end in (writer, there[1]):
                end.close()
                with contextlib.suppress(OSError):
                    await end.wait_closed()

    async def _send(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, losing: asyncio.Event
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if self._to_lose is not None and self._to_lose in data:
                    self._to_lose = None
                    self.lost += 1
                    losing.set()
                writer.write(data)
                await writer.drain()

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, losing: asyncio.Event
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if losing.is_set():
                    return  # carried out, and cut
                writer.write(data)
                await writer.drain()
