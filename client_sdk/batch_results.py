"""Reads the results of a batch: whole lines, resumed after a broken connection.

A batch only appends to its results, so a reader can resume at any byte, also while the batch runs.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import aiohttp
from yarl import URL

from client_sdk import batch_calls, errors
from client_sdk.download import MOST_ERROR_BYTES, SILENCE_S, WRITE_BYTES
from client_sdk.refusals import from_answer
from client_sdk.replicas import is_about_replica
from client_sdk.transport import Transport
from client_sdk.unreachable import failed_connection


class ResultReader:
    """Reads the answers, or the errors, of one batch.

    offset: how many bytes were read, or skipped: always whole lines.
    total: how many there were when the last response began; None before.
    """

    def __init__(
        self, transport: Transport, batch_id: str, *, of_errors: bool, offset: int = 0
    ) -> None:
        self.offset = offset
        self.total: int | None = None
        self._transport = transport
        self._path = batch_calls.lines_path(batch_id, of_errors=of_errors)

    async def blocks(self) -> AsyncGenerator[bytes, None]:
        """Yield the results so far, some whole lines at a time; a second call continues there."""
        transport, backoff = self._transport, self._transport.retry.backoff()
        while True:
            replica, before = transport.replicas.current, self.offset
            try:
                async with aclosing(self._once(f"{replica}{self._path}")) as blocks:
                    async for block in blocks:
                        self.offset += len(block)
                        yield block
                return
            except errors.QueueError as error:
                if self.offset > before:
                    backoff.reset()
                if not error.transient or backoff.tries >= transport.retry.retries:
                    raise
                if is_about_replica(error):
                    transport.replicas.pass_over(replica)
            await asyncio.sleep(backoff.next_delay_s())

    async def _once(self, url: str) -> AsyncGenerator[bytes, None]:
        # With compression by a proxy, a range would mean other bytes.
        headers = {"Accept-Encoding": "identity"}
        if self.offset:
            headers["Range"] = f"bytes={self.offset}-"
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=30.0, sock_read=SILENCE_S)
        try:
            async with self._transport.session.get(
                URL(url, encoded=True),
                headers=headers,
                timeout=timeout,
                read_bufsize=WRITE_BYTES,
                allow_redirects=False,
            ) as response:
                if response.status == 416:
                    return
                if response.status not in (200, 206):
                    body = await response.content.read(MOST_ERROR_BYTES)
                    raise from_answer(response.status, response.headers, body, url=url)
                # A server, or a cache, may ignore the range.
                skipped = 0 if response.status == 206 else self.offset
                if response.content_length is not None:
                    self.total = self.offset - skipped + response.content_length
                waiting = bytearray()
                async for piece in response.content.iter_any():
                    waiting += piece[skipped:]
                    skipped -= min(skipped, len(piece))
                    if end := waiting.rfind(b"\n") + 1:
                        block = bytes(waiting[:end])
                        del waiting[:end]
                        yield block
        except (aiohttp.ClientError, OSError) as error:
            raise failed_connection(error, "no data in time", url=url) from error
