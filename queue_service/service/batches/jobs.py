"""The jobs of a batch: one for each line, submitted, followed to its end, removed.

A job is named `{batch}-{line}`.  Submitting it again finds it, so a line runs once, whichever
process dies meanwhile.
"""

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from queue_service.errors import (
    QueueFull,
    QuotaExceeded,
    StoreError,
    StoreUnavailable,
)
from queue_service.service.batches.lines import LineFormat, LineRequest
from queue_service.service.file_errors import FilesFull
from queue_service.service.files import FileOwner
from queue_service.service.interfaces import InvalidInput
from queue_service.service.service import Service
from queue_service.store.batch import About
from queue_service.store.entry import Entry, Filter, Read
from queue_service.store.owners import owned_name
from queue_service.store.rules import MOST_READ_BYTES
from queue_service.store.ticket import Seen, Submission

log = logging.getLogger(__name__)

#: How long a result is kept if no process fetches it, and its ticket after that, in ms.
KEEP_MS, TOLD_MS = 24 * 3600 * 1000, 3600 * 1000
#: The pause after a full queue or an unavailable store, in seconds: the first, and the longest.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 15.0

Got = TypeVar("Got")


class Jobs:
    """The jobs of one batch."""

    def __init__(self, about: About, service: Service, format: LineFormat) -> None:
        self._about = about
        self._format = format
        self._service = service

    def id_of(self, line: int) -> str:
        """Return the id of the job of a line."""
        return f"{self._about.id}-{line}"

    def name_of(self, line: int) -> str:
        """Return the name of this job in the store."""
        return owned_name(self._about.putter.owner, self.id_of(line))

    async def submit(self, line: int, request: LineRequest) -> str:
        """Submit the job of a line; return its name in the store.

        Waits while there is no room.  Raises another ServiceError for what will never be accepted,
        such as InvalidInput.
        """
        try:
            await patiently(
                lambda: self._service.interfaces.check(
                    request.data, content_type=request.content_type, path=request.path
                )
            )
        except InvalidInput:
            # The workers may have changed since another process submitted it.
            if not await self.exists(line):
                raise
            return self.name_of(line)
        return await patiently(lambda: self._submit(line, request))

    async def exists(self, line: int) -> bool:
        """Say whether the job of a line was submitted, and is not yet removed."""
        return (await patiently(lambda: self._service.tickets.look(self.name_of(line)))).known

    async def end_of(self, name: str) -> Seen:
        """Wait for the end of a job."""
        return await patiently(lambda: self._follow(name))

    async def result_of(self, seen: Seen) -> Entry | None:
        """Return what a job that has ended has left in the sink; of much data the beginning."""
        if seen.result is not None:
            return await self._service.files.with_beginning(seen.result, MOST_READ_BYTES)
        if not seen.result_index:
            return None
        read = Read(Filter(request_id=seen.id, owner=seen.owner), 1, take=False)
        entries = await patiently(lambda: self._service.sink.get(read))
        if (entry := next(iter(entries), None)) is None:
            return None
        return await self._service.files.with_beginning(entry, MOST_READ_BYTES)

    async def cancel(self, line: int) -> None:
        """Cancel the job of a line; one that has ended stays as it is."""
        name = self.name_of(line)

        async def cancel() -> None:
            await self._service.tickets.cancel(name)

        await patiently(cancel)

    async def forget(self, name: str) -> None:
        """Remove a job that has ended."""

        async def purge() -> None:
            with contextlib.suppress(StoreError):
                await self._service.tickets.purge(name)

        await patiently(purge)

    async def discard(self, line: int) -> None:
        """Cancel the job of a line and keep nothing of it; there may be none."""
        await self._service.tickets.discard(self.name_of(line))

    async def _submit(self, line: int, request: LineRequest) -> str:
        about, service = self._about, self._service
        owner, limits = FileOwner(about.owner), service.input.limits
        async with self._format.resolving(request.data, service.files, owner, limits) as resolved:
            submission = Submission(
                request_id=self.id_of(line),
                data=resolved.data,
                digest=hashlib.sha256(request.data).hexdigest(),
                keep_ms=KEEP_MS,
                told_ms=TOLD_MS,
                path=request.path,
                content_type=request.content_type,
                finish_by_ms=about.expires_at_ms,
                events=False,
                quiet=True,
                putter=about.putter,
                files=resolved.files,
            )
            return (await service.tickets.submit(submission)).name

    async def _follow(self, name: str) -> Seen:
        async for seen in self._service.tickets.follow(name, ends_only=True):
            if seen.is_over:
                return seen
        raise AssertionError("a job is followed to its end")


async def patiently(call: Callable[[], Awaitable[Got]]) -> Got:
    """Repeat a call until there is room, and the store answers; each call may be repeated."""
    pause_s = FIRST_PAUSE_S
    while True:
        try:
            return await call()
        except (StoreUnavailable, StoreError, QueueFull, QuotaExceeded, FilesFull) as error:
            log.debug("A batch waits: %s", error)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
