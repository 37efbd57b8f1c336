"""The lines of a batch that are in the queue: some at a time, in the order of the plan.

Lines end in this order: the answer is appended to the part files, the index commits it, the job is
removed.  The process that runs the batch next repeats what was not committed, and finds the jobs by
name.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby, islice
from typing import Any

from queue_service.delivery.doorbell import Doorbell
from queue_service.errors import ServiceError, StoreUnavailable
from queue_service.service.batches import parts, progress
from queue_service.service.batches.folder import BatchFolder
from queue_service.service.batches.jobs import Jobs
from queue_service.service.batches.lines import Answer, LineFormat, LineRequest
from queue_service.service.batches.plan import Planned, read_plan
from queue_service.service.batches.progress import Outcome
from queue_service.service.file_errors import FilesFull
from queue_service.store.batch import About, Part
from queue_service.store.batch import State as BatchState
from queue_service.store.ticket import State

log = logging.getLogger(__name__)

#: How many lines of a batch are in the queue at once: enough for the workers, and nothing that a
#: million lines would fill.
WINDOW = 256
#: How many lines, and how many bytes of them, are read at once.
STEP, STEP_BYTES = 64, 4 * 1024 * 1024
#: How many results are read at once, and how many bytes of answers wait for a commit.
READS, ANSWER_BYTES = 4, 16 * 1024 * 1024
#: How many lines that do not run are written at once.
NOT_RUN_STEP = 1000
#: How long canceled jobs may take to end, in seconds; their lines then count as not run.
STOP_S = 600.0
#: How often jobs that were submitted meanwhile are canceled too, in seconds.
STOP_AGAIN_S = 1.0
#: The pause before a full disk is tried again, in seconds.
DISK_PAUSE_S = 5.0


class LineWindow:
    """Runs the lines of one batch, until all have ended or the batch must stop.

    commit: stores a state, or raises when the lease is lost.
    check_room: raises FilesFull if the disk has no room for more bytes.
    bell: rings when it may be time to stop.
    """

    def __init__(
        self,
        about: About,
        folder: BatchFolder,
        state: BatchState,
        *,
        jobs: Jobs,
        format: LineFormat,
        epoch: int,
        commit: Callable[[BatchState], Awaitable[None]],
        check_room: Callable[[int], Awaitable[None]],
        bell: Doorbell,
        may_submit: Callable[[], bool],
        must_stop: Callable[[], bool],
    ) -> None:
        self._about = about
        self._folder = folder
        self._state = state
        self._jobs = jobs
        self._format = format
        self._epoch = epoch
        self._commit_state = commit
        self._check_room = check_room
        self._bell = bell
        self._may_submit = may_submit
        self._must_stop = must_stop
        self._places = progress.open_places(state)
        #: The lines under way, by the tasks that follow them.
        self._lines: dict[asyncio.Task[None], int] = {}
        self._unsubmitted: set[asyncio.Task[None]] = set()
        self._ended: list[Outcome] = []
        self._ended_bytes = 0
        self._reads = asyncio.Semaphore(READS)
        self._has_taken_over = False
        self._perhaps_run_twice: list[int] = []

    @property
    def is_done(self) -> bool:
        """Whether every line has ended, and is committed."""
        return self._state.low >= self._state.total

    async def run(self) -> None:
        """Run lines until the last has ended, or the batch must stop."""
        try:
            more = True
            while (more or self._lines or self._ended) and not self._must_stop():
                seen = self._bell.rings
                if self._ended:
                    await self._commit()
                elif more and self._may_submit() and WINDOW - len(self._lines) >= STEP:
                    step = list(islice(self._places, STEP))
                    more = len(step) == STEP
                    await self._submit(step)
                else:
                    await self._bell.wait(seen)
        except BaseException:
            await self.abandon()
            raise

    async def stop(self) -> None:
        """Cancel the jobs that have not ended and wait for those that run; nothing is left."""
        until = time.monotonic() + STOP_S
        try:
            if self._has_taken_over:
                await self._adopt_lines()
            for task in self._unsubmitted & self._lines.keys():
                # It may wait for room for ever; whether it was stored, the cancel below finds out.
                task.cancel()
            await asyncio.gather(*(self._jobs.cancel(line) for line in self._lines.values()))
            while (self._lines or self._ended) and time.monotonic() < until:
                if self._ended:
                    await self._commit()
                if self._lines:
                    await asyncio.wait({*self._lines}, timeout=STOP_AGAIN_S)
        finally:
            await self.abandon()
        await self._discard(islice(progress.open_places(self._state), WINDOW))

    async def take_over(self) -> None:
        """Remove the jobs of lines that ended when another process ran the batch."""
        self._has_taken_over = True
        self._perhaps_run_twice = list(islice(progress.open_places(self._state), 2 * WINDOW))
        planned = await asyncio.to_thread(_planned_at, self._folder, self._state.settled)
        names = [self._jobs.name_of(found.line) for _, found in planned]
        await asyncio.gather(*(self._jobs.forget(name) for name in names))

    async def clean_up(self) -> None:
        """Remove what a process that has lost its lease may have submitted once more."""
        await self._discard(self._perhaps_run_twice)

    async def _adopt_lines(self) -> None:
        """Follow what another process has submitted, so that what has ended keeps its answer."""
        known = set(self._lines.values())
        places = list(islice(progress.open_places(self._state), WINDOW))
        for lines in _slices(await asyncio.to_thread(_planned_at, self._folder, places)):
            for place, planned, text in await asyncio.to_thread(_texts, self._folder, lines):
                if planned.line not in known:
                    request = replace(self._format.request(self._about.endpoint, text), data=b"")
                    self._start(self._adopt(place, planned.line, request), planned.line)

    async def _discard(self, places: Iterable[int]) -> None:
        planned = await asyncio.to_thread(_planned_at, self._folder, places)
        await asyncio.gather(*(self._jobs.discard(found.line) for _, found in planned))

    async def write_not_run(self, code: str) -> None:
        """Write an error for each line that has not ended."""
        places = progress.open_places(self._state)
        while step := list(islice(places, NOT_RUN_STEP)):
            for lines in _slices(await asyncio.to_thread(_planned_at, self._folder, step)):
                for place, planned, text in await asyncio.to_thread(_texts, self._folder, lines):
                    name = self._format.request(self._about.endpoint, text).custom_id
                    line = progress.not_run(self._about.id, planned.line, name, code)
                    self._add(Outcome(place, line, succeeded=False))
            await self._commit()

    async def abandon(self) -> None:
        """End the tasks; their jobs go on, and are found by name."""
        tasks = list(self._lines)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _submit(self, places: Sequence[int]) -> None:
        for lines in _slices(await asyncio.to_thread(_planned_at, self._folder, places)):
            for place, planned, text in await asyncio.to_thread(_texts, self._folder, lines):
                line = planned.line
                self._unsubmitted.add(self._start(self._run_line(place, line, text), line))
            # They submit together, and drop their texts before more are read.
            while len(self._unsubmitted) > STEP and not self._must_stop():
                await self._bell.wait(self._bell.rings)

    def _start(self, running: Coroutine[Any, Any, None], line: int) -> "asyncio.Task[None]":
        task = asyncio.create_task(running)
        self._lines[task] = line
        task.add_done_callback(self._line_has_ended)
        return task

    def _line_has_ended(self, task: "asyncio.Task[None]") -> None:
        self._lines.pop(task, None)
        self._unsubmitted.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("A line of %s was not run.", self._about.id, exc_info=error)
        self._bell.ring()

    async def _run_line(self, place: int, line: int, text: bytes) -> None:
        about, task = self._about, asyncio.current_task()
        assert task is not None
        request = self._format.request(about.endpoint, text)
        del text
        try:
            name = await self._jobs.submit(line, request)
        except ServiceError as error:
            self._add(self._outcome(place, line, request, self._format.refusal(error), ""))
            return
        finally:
            self._unsubmitted.discard(task)
            self._bell.ring()
        await self._follow(place, line, replace(request, data=b""), name)

    async def _adopt(self, place: int, line: int, request: LineRequest) -> None:
        """Follow a line that another process may have submitted; without a job it did not run."""
        if await self._jobs.exists(line):
            await self._follow(place, line, request, self._jobs.name_of(line))

    async def _follow(self, place: int, line: int, request: LineRequest, name: str) -> None:
        seen = await self._jobs.end_of(name)
        if seen.state is State.EXPIRED or (seen.state is State.CANCELED and self._must_stop()):
            # It gets its error with the lines that did not run.  Redis' clock may be ahead of ours.
            await self._jobs.forget(name)
            return
        async with self._reads:
            answer = request.answer(seen, await self._jobs.result_of(seen))
            self._add(self._outcome(place, line, request, answer, name))
            while self._ended_bytes > ANSWER_BYTES:
                await self._bell.wait(self._bell.rings)

    def _outcome(
        self, place: int, line: int, request: LineRequest, answer: Answer, name: str
    ) -> Outcome:
        job = self._jobs.id_of(line)
        text = progress.answered(self._about.id, line, request.custom_id, job, answer)
        return Outcome(place, text, answer.status < 400, answer.usage, name)

    def _add(self, outcome: Outcome) -> None:
        self._ended.append(outcome)
        self._ended_bytes += len(outcome.text)
        self._bell.ring()

    async def _commit(self) -> None:
        """Write the lines that have ended; then their jobs are no longer needed."""
        outcomes, self._ended, self._ended_bytes = self._ended, [], 0
        if not outcomes:
            return
        now = next((one for one in self._state.parts if one.epoch == self._epoch), None)
        part = await self._append(now or Part(self._epoch), outcomes)
        state = progress.advanced(self._state, part, outcomes)
        await self._commit_state(state)
        self._state = state
        # A process that dies here leaves them to the next, which knows the places.
        names = [outcome.name for outcome in outcomes if outcome.name]
        await asyncio.gather(*(self._jobs.forget(name) for name in names))
        self._bell.ring()

    async def _append(self, part: Part, outcomes: Sequence[Outcome]) -> Part:
        output = b"".join(one.text for one in outcomes if one.succeeded)
        errors = b"".join(one.text for one in outcomes if not one.succeeded)
        while True:
            try:
                await self._check_room(len(output) + len(errors))
                return await asyncio.to_thread(parts.append, self._folder, part, output, errors)
            except (OSError, FilesFull, StoreUnavailable) as error:
                log.error("Answers of %s cannot be written: %s", self._about.id, error)
                await asyncio.sleep(DISK_PAUSE_S)


def _planned_at(folder: BatchFolder, places: Iterable[int]) -> list[tuple[int, Planned]]:
    """Return what the plan has at these places, in order."""
    found: list[tuple[int, Planned]] = []
    # One read for places that follow each other, which most do.
    for _, run in groupby(enumerate(sorted(places)), lambda one: one[1] - one[0]):
        following = [place for _, place in run]
        planned = read_plan(folder.plan, following[0], len(following))
        found += zip(following, planned, strict=True)
    return found


def _slices(lines: Sequence[tuple[int, Planned]]) -> Iterator[list[tuple[int, Planned]]]:
    """Yield the lines, no more of them than may be read at once."""
    gathered: list[tuple[int, Planned]] = []
    size = 0
    for place, planned in lines:
        if gathered and size + planned.length > STEP_BYTES:
            yield gathered
            gathered, size = [], 0
        gathered.append((place, planned))
        size += planned.length
    if gathered:
        yield gathered


def _texts(
    folder: BatchFolder, lines: Sequence[tuple[int, Planned]]
) -> list[tuple[int, Planned, bytes]]:
    with folder.input.open("rb") as file:
        found = []
        for place, planned in lines:
            file.seek(planned.offset)
            found.append((place, planned, file.read(planned.length)))
        return found
