"""Many inputs, each a job, with a bounded number in flight; what `map` of the jobs is made of."""

import asyncio
import contextlib
import uuid
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
)
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from client_sdk import errors
from client_sdk.backoff import Backoff

if TYPE_CHECKING:
    from client_sdk.jobs import AsyncJobs

T = TypeVar("T")

#: What to do about an input whose job gives no result.
Failures = Literal["raise", "return"]

#: How long one look waits for a result, in seconds.
LOOK_S = 20.0
#: For how long the jobs of a map that is left early are canceled, in seconds.
CANCELING_S = 5.0
#: How often one input is put at most, when its result is gone before it was read.
MOST_PUTS = 3
_END: Final = object()

#: These are about one job.  Any other error is about the service, and ends the map.
_OF_ONE_JOB = (
    errors.NoResult,
    errors.Gone,
    errors.NotFound,
    errors.IdInUse,
    errors.BadParameter,
    errors.FrameTooBig,
)


@dataclass(frozen=True, slots=True)
class JobInput:
    """One input of a map, with an id and options of its own.

    id: by default one is made.  options: arguments of `submit`, by name.
    """

    data: bytes | str
    id: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Mapped:
    """What became of one input.

    number: the input's place among all, from 0.  input: as it was given.  data: the result, b""
    when the job gave none.  error: why there is no result; None when there is one.
    """

    number: int
    input: bytes | str | JobInput
    job_id: str
    data: bytes
    error: errors.QueueError | None = None


Item = bytes | str | JobInput


@dataclass(frozen=True, slots=True)
class MapOptions:
    """How a map goes about it; the names are those of `AsyncJobs.map`."""

    in_flight: int
    ordered: bool
    failures: Failures
    keep: bool
    cancel: bool
    patience_s: float
    run_id: str
    options: Mapping[str, Any]
    on_wait: Callable[[errors.QueueError], None] | None = None

    def __post_init__(self) -> None:
        if self.in_flight < 1:
            raise errors.BadParameter(f"expected in_flight of at least 1, got {self.in_flight}")
        if self.failures not in ("raise", "return"):
            raise errors.BadParameter(f"expected failures raise or return, got {self.failures!r}")


class MapRun:
    """One run over many inputs: started one by one, handed out as they come or in order.

    What it holds is bounded by the number in flight, however many inputs there are.
    """

    def __init__(self, jobs: "AsyncJobs", options: MapOptions, *, connections: int) -> None:
        """connections: how many the client may hold open, of which half may wait for results."""
        self._jobs = jobs
        self._options = options
        self._run_id = options.run_id or str(uuid.uuid4())
        self._started = 0
        self._tasks: deque[asyncio.Task[Mapped]] = deque()
        self._ended: asyncio.Queue[asyncio.Task[Mapped]] = asyncio.Queue()
        self._unhanded = 0
        self._unfinished: set[str] = set()
        self._deleting: set[asyncio.Task[None]] = set()
        # With all connections waiting for results nothing new could be put.
        self._looks = asyncio.Semaphore(max(1, connections // 2))
        self._answered_at: float | None = None

    @property
    def has_room(self) -> bool:
        """Whether another input may be started."""
        return self._unhanded < self._options.in_flight

    @property
    def is_open(self) -> bool:
        """Whether there are inputs that were started and not handed out."""
        return self._unhanded > 0

    @property
    def is_ready(self) -> bool:
        """Whether `next` has something at once."""
        if self._options.ordered:
            return bool(self._tasks) and self._tasks[0].done()
        return not self._ended.empty()

    async def start(self, one: Item) -> None:
        """Begin with one more."""
        if not isinstance(one, bytes | str | JobInput):
            came = type(one).__name__
            raise errors.BadParameter(f"expected inputs of bytes, str or JobInput, got {came}")
        task = asyncio.create_task(self._run(self._started, one))
        self._started += 1
        self._unhanded += 1
        self._tasks.append(task)
        if not self._options.ordered:
            task.add_done_callback(self._ended.put_nowait)

    async def next(self) -> Mapped:
        """Hand out what came of one; raises what ends the map."""
        if self._options.ordered:
            task = self._tasks[0]
            await asyncio.wait([task])
        else:
            task = await self._ended.get()
        self._tasks.remove(task)
        self._unhanded -= 1
        mapped = task.result()
        if mapped.error is not None and self._options.failures == "raise":
            raise mapped.error
        return mapped

    async def settle(self, mapped: Mapped) -> None:
        """Note that one was taken: its job is not needed any more."""
        if self._options.keep:
            return
        task = asyncio.create_task(self._delete(mapped.job_id))
        self._deleting.add(task)
        task.add_done_callback(self._deleting.discard)
        while len(self._deleting) > self._options.in_flight:
            await asyncio.wait(self._deleting, return_when=asyncio.FIRST_COMPLETED)

    async def close(self) -> None:
        """Leave: what is open is canceled, unless it is to go on."""
        for task in self._tasks:
            task.cancel()
        left = sorted(self._unfinished)
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CANCELING_S):
                if self._options.cancel:
                    await asyncio.gather(*(self._cancel(job_id) for job_id in left))
                await asyncio.gather(*self._deleting)

    async def over(
        self, inputs: Iterable[Item] | AsyncIterable[Item]
    ) -> AsyncGenerator[Mapped, None]:
        """Take all inputs, and give what becomes of them; closes at the end."""
        source = aiter(inputs if isinstance(inputs, AsyncIterable) else _each(inputs))
        asking: asyncio.Task[Any] | None = asyncio.create_task(_ask(source))
        coming: asyncio.Task[Mapped] | None = None
        try:
            while asking or coming:
                # An input that there is no room for waits until something was handed out.
                asked = asking if self.has_room else None
                waited_for = [task for task in (asked, coming) if task]
                await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)
                if coming and coming.done():
                    mapped, coming = coming.result(), None
                    yield mapped
                    await self.settle(mapped)
                if asking and asking.done() and self.has_room:
                    one = asking.result()
                    asking = None if one is _END else asyncio.create_task(_ask(source))
                    if one is not _END:
                        await self.start(one)
                if coming is None and self.is_open:
                    coming = asyncio.create_task(self.next())
        finally:
            left = [task for task in (asking, coming) if task]
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
            await self.close()

    async def _run(self, number: int, one: Item) -> Mapped:
        given = one if isinstance(one, JobInput) else JobInput(one)
        job_id = given.id or f"{self._run_id}-{number}"
        options = {"events": False, **self._options.options, **given.options}
        self._unfinished.add(job_id)
        try:
            data = await self._done(job_id, given.data, options)
        except errors.NoSuchService:
            raise
        except _OF_ONE_JOB as error:
            self._unfinished.discard(job_id)
            return Mapped(number, one, job_id, b"", error)
        self._unfinished.discard(job_id)
        return Mapped(number, one, job_id, data)

    async def _done(self, job_id: str, data: bytes | str, options: Mapping[str, Any]) -> bytes:
        """Put a job, if it is not there, and return its result.

        A job that an earlier run has put may have ended so long ago that its result was dropped,
        or be unknown to a service that lost its memory: it is put anew.
        """
        puts = 0
        while True:
            await self._persist(lambda: self._jobs.submit(data, job_id=job_id, **options))
            puts += 1
            try:
                return await self._result(job_id)
            except errors.NoSuchService:
                raise
            except (errors.Gone, errors.NotFound):
                if puts == MOST_PUTS:
                    raise
            with contextlib.suppress(errors.Refused):
                await self._persist(lambda: self._jobs.delete(job_id))

    async def _result(self, job_id: str) -> bytes:
        while True:
            async with self._looks:
                with contextlib.suppress(errors.NotInTime):
                    return await self._persist(lambda: self._jobs.result(job_id, timeout_s=LOOK_S))

    async def _persist(self, verb: Callable[[], Awaitable[T]]) -> T:
        """Do what may be done twice, through failures that pass.

        It is given up when nothing has gone well for any input for `patience_s`; and at once,
        after the client's own retries, while there was never an answer at all: then the address
        is wrong rather than the service away.
        """
        loop, backoff = asyncio.get_running_loop(), Backoff()
        while True:
            try:
                done = await verb()
            except errors.NotInTime:
                # The service has answered: the job goes on.
                self._answered_at = loop.time()
                raise
            except errors.QueueError as error:
                if self._answered_at is None and error.status is not None:
                    self._answered_at = loop.time()
                if not error.transient or self._answered_at is None:
                    raise
                if loop.time() - self._answered_at > self._options.patience_s:
                    raise
                if self._options.on_wait is not None:
                    self._options.on_wait(error)
            else:
                self._answered_at = loop.time()
                return done
            await asyncio.sleep(backoff.next_delay_s())

    async def _delete(self, job_id: str) -> None:
        # What cannot be deleted now is forgotten by the service when its time has come.
        with contextlib.suppress(errors.QueueError):
            await self._jobs.delete(job_id)

    async def _cancel(self, job_id: str) -> None:
        with contextlib.suppress(errors.QueueError):
            await self._jobs.cancel(job_id)


async def _each(inputs: Iterable[Item]) -> AsyncIterator[Item]:
    for one in inputs:
        yield one


async def _ask(source: AsyncIterator[Item]) -> object:
    try:
        return await anext(source)
    except StopAsyncIteration:
        return _END
