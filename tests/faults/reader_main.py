"""A reader of a run: takes results out of the sink, and notes each before it says so.

    python -m tests.faults.reader_main <journal> <name> <url> watch|get

Commands on stdin: `pause`, `go`.
"""

import asyncio
import sys
from collections import deque
from pathlib import Path

import uvloop

from client_sdk import AsyncQueueClient, Frame, errors
from client_sdk.transport import RetryPolicy
from client_sdk.wire import names
from tests.faults.event import Event, What, now
from tests.faults.handler import attempt_of, request_of
from tests.faults.journal import Journal
from tests.faults.told import listen
from tests.running import TOKEN
from tests.waiting import let_pass

WINDOW = 400
#: Indexes of one commit or delete.
BATCH = 300
PAUSE_S = 0.1
#: From one get to the next, in seconds.
GET_EVERY_S = 0.5


class Reader:
    """Reads the sink in one of the two safe ways: watch and commit, or get and delete."""

    def __init__(self, journal: Journal, url: str) -> None:
        self._journal = journal
        self._queue = AsyncQueueClient(
            url,
            "svc",
            token=TOKEN,
            uid=journal.who,
            timeout_s=8,
            retry=RetryPolicy(most_delay_s=0.5),
        )
        self._read: deque[tuple[str, int]] = deque()
        self._going = asyncio.Event()
        self._paused = asyncio.Event()

    def obey(self, words: list[str]) -> None:
        """Do what a line says."""
        if words == ["go"]:
            self._paused.clear()
            self._going.set()
        elif words == ["pause"]:
            self._going.clear()
            self._paused.set()
        else:
            raise ValueError(f"expected go or pause, got {words}")

    async def run(self, way: str) -> None:
        """Read for ever, whenever there is no pause."""
        async with self._queue:
            while True:
                await self._going.wait()
                reading = asyncio.create_task(self._watch() if way == "watch" else self._get())
                pausing = asyncio.create_task(self._paused.wait())
                await asyncio.wait({reading, pausing}, return_when=asyncio.FIRST_COMPLETED)
                pausing.cancel()
                if reading.done():
                    reading.result()
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)

    async def _watch(self) -> None:
        async with (
            self._queue.sink.watch(window=WINDOW, ping_interval_s=0.5) as frames,
            asyncio.TaskGroup() as group,
        ):
            group.create_task(self._commit_for_ever())
            async for frame in frames:
                self._journal.write([self._event(frame)])
                self._read.append((frame.tags[names.REQUEST_ID_TAG], frame.index))

    async def _commit_for_ever(self) -> None:
        while True:
            if not self._read:
                await let_pass(0.01)
                continue
            batch = [self._read.popleft() for _ in range(min(BATCH, len(self._read)))]
            try:
                await self._queue.sink.commit([index for _, index in batch])
            except errors.QueueError:
                self._read.extendleft(reversed(batch))
                await let_pass(PAUSE_S)
                continue
            self._note_committed(batch)

    async def _get(self) -> None:
        while True:
            try:
                frames = await self._queue.sink.get(length=BATCH, timeout_s=1, auto_delete=False)
                self._journal.write([self._event(frame) for frame in frames])
                if frames:
                    await self._queue.sink.delete(frames)
            except errors.QueueError:
                await let_pass(PAUSE_S)
                continue
            # Leave most of the work to the watch.
            await let_pass(GET_EVERY_S)

    def _note_committed(self, batch: list[tuple[str, int]]) -> None:
        at = now()
        self._journal.write(
            Event(at, self._journal.who, What.COMMITTED, request_id, index)
            for request_id, index in batch
        )

    def _event(self, frame: Frame) -> Event:
        request_id = frame.tags[names.REQUEST_ID_TAG]
        if names.ERROR_CODE_TAG in frame.tags:
            code, attempt = "error", 0
        elif request_of(frame.data) == request_id:
            code, attempt = "", attempt_of(frame.data)
        else:
            code, attempt = frame.data[:40].decode(errors="replace"), 0
        return Event(
            now(), self._journal.who, What.READ, request_id, frame.index, attempt, code=code
        )


async def _main() -> None:
    path, name, url, way = sys.argv[1:5]
    journal = Journal(Path(path), name)
    journal.note(What.STARTED)
    reader = Reader(journal, url)
    running = asyncio.create_task(reader.run(way))
    listening = asyncio.create_task(listen(reader.obey))
    await asyncio.wait({running, listening}, return_when=asyncio.FIRST_COMPLETED)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


if __name__ == "__main__":
    uvloop.run(_main())
