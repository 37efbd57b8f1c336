"""A user's Python class, or a bare function, as an engine.

    class Sentiment:
        def setup(self, ctx): ...            # once, before the first job; `setup(self)` is as good
        def predict(self, text: str): ...    # per job; `predict(self, text, ctx)` is as good

What predict is given: the payload as bytes, unless its first parameter is annotated `str` (the
payload as UTF-8 text) or as a JSON type (`dict`, `list`, `int`, `float`, `bool`, or one of these
with parameters, or a TypedDict), or the class says so itself: `input_type = "bytes" | "text" |
"json"`.  What it returns: bytes as they are, text as UTF-8, None or nothing at all for no result
in the sink, and anything else as JSON.  What it yields are pieces of the result.

A sync predict runs in a thread, `capacity` of them; an async one on the loop.  The class
attribute `concurrency` says how many jobs the code can take at once; without it the operator's
window holds, which is five by default, as with PAI EAS.  `predict_batch` takes a list.
"""

import asyncio
import inspect
import logging
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from inference_worker.engines.allspark import allspark_shape
from inference_worker.engines.batch import Batcher
from inference_worker.engines.cog import cog_shape
from inference_worker.engines.engine import (
    DEVICE_LOST,
    Cancelled,
    Context,
    Delta,
    Engine,
    Event,
    Failed,
    Finished,
    Health,
    Job,
    Started,
    State,
)
from inference_worker.engines.failures import failure_of
from inference_worker.engines.locate import last_line
from inference_worker.engines.payload import Pieces, outputs_of
from inference_worker.engines.runpod import runpod_shape
from inference_worker.engines.shape import Shape, handler_shape
from inference_worker.errors import EngineFailed, WorkerError

#: How many jobs at once when neither the operator nor the class says; what PAI EAS takes.
DEFAULT_CAPACITY = 5

#: By the word before the first colon of an engine's name: what makes a user's code callable.
SHAPES: dict[str, Callable[[str], Shape]] = {
    "handler": handler_shape,
    "allspark": allspark_shape,
    "runpod": runpod_shape,
    "cog": cog_shape,
}

log = logging.getLogger(__name__)


class _Call:
    """One job while the handler has it."""

    def __init__(self, job: Job, device: str) -> None:
        self.job = job
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        self.cancelled = threading.Event()
        self.future: Future[None] | None = None
        self.task: asyncio.Task[None] | None = None
        self._loop = asyncio.get_running_loop()
        self.context = Context(
            job, report=self.report, cancelled=self.cancelled.is_set, device=device
        )

    def wait(self, output: Any) -> Any:
        """Return what a predict returned, from its thread; what has to be awaited, is.

        A decorator can hide that a predict is async until it has been called.
        """
        if not inspect.iscoroutine(output):
            return output
        return asyncio.run_coroutine_threadsafe(_contained(output), self._loop).result()

    def report(self, event: Event) -> None:
        """Pass on an event, from any thread."""
        # A thread that outlives a cancelled job may find the loop closed; nobody listens then.
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.events.put_nowait, event)


class HandlerEngine(Engine):
    """Runs `module:Class` or `module:function`, in our own shape or in that of others."""

    def __init__(self, target: str, *, capacity: int | None = None, kind: str = "handler") -> None:
        super().__init__(f"{kind}:{target}", capacity=capacity or DEFAULT_CAPACITY)
        self._target = target
        self._load_shape = SHAPES[kind]
        self._asked_capacity = capacity
        self._device = ""
        self._shape: Shape | None = None
        self._batcher: Batcher[_Call] | None = None
        self._threads: ThreadPoolExecutor | None = None
        # Its own, so that a full house of jobs does not make the handler look sick.
        self._health_thread = ThreadPoolExecutor(1, thread_name_prefix="health")

    async def start(self, context: Context) -> None:
        """Import the module, make the instance, call its setup."""
        self._device = context.asked_device
        loop = asyncio.get_running_loop()
        # In a thread, because loading a model takes minutes in which the loop has to go on.
        first = self._threads = ThreadPoolExecutor(1, thread_name_prefix="predict")
        try:
            shape = await loop.run_in_executor(first, self._load_shape, self._target)
            if shape.setup is not None:
                await _awaited(await loop.run_in_executor(first, shape.setup, context))
        except WorkerError:
            raise
        except (Exception, SystemExit) as error:
            log.debug("The traceback of the handler's setup:", exc_info=True)
            raise EngineFailed(self.name, last_line(error)) from error
        self._shape = shape
        at_most = shape.concurrency
        if shape.batch_size:
            at_most = shape.batch_size * (shape.concurrency or 1)
            self._batcher = Batcher(
                self._compute_batch,
                size=shape.batch_size,
                timeout_s=shape.batch_timeout_s,
                concurrency=shape.concurrency or 1,
            )
        # The code knows what it can bear and the operator what is wanted: the smaller one holds.
        wanted = self._asked_capacity or at_most or DEFAULT_CAPACITY
        self.capacity = min(wanted, at_most or wanted)
        if self.capacity > 1:
            # Otherwise predict runs where setup did, which some libraries insist on.
            first.shutdown(wait=False)
            self._threads = ThreadPoolExecutor(self.capacity, thread_name_prefix="predict")

    async def run(self, job: Job) -> AsyncGenerator[Event, None]:
        """Call predict once, or have the job computed with others."""
        call = _Call(job, self._device)
        has_ended = False
        self._begin(call)
        try:
            while True:
                event = await call.events.get()
                has_ended = isinstance(event, Finished | Failed)
                yield event
                if has_ended:
                    return
        finally:
            call.cancelled.set()
            if not has_ended:
                await self._let_go(call)

    async def health(self) -> Health:
        """Ask the handler, if it has a health."""
        if self._shape is None or self._shape.health is None:
            return Health(State.OK)
        loop = asyncio.get_running_loop()
        try:
            said = await _awaited(
                await loop.run_in_executor(self._health_thread, self._shape.health)
            )
        except (Exception, SystemExit) as error:
            return Health(State.DEAD, last_line(error))
        return Health(State.OK) if said is not False else Health(State.DEAD, "the handler says so")

    async def stop(self, grace_s: float) -> None:
        """Call the handler's teardown, if it has one."""
        teardown = self._shape.teardown if self._shape else None
        if teardown is not None:
            loop = asyncio.get_running_loop()
            try:
                async with asyncio.timeout(grace_s):
                    await _awaited(await loop.run_in_executor(self._health_thread, teardown))
            except (Exception, SystemExit) as error:
                log.warning("The handler's teardown failed: %s", last_line(error))
        for threads in (self._threads, self._health_thread):
            if threads is not None:
                threads.shutdown(wait=False, cancel_futures=True)

    # --- One job

    def _begin(self, call: _Call) -> None:
        assert self._shape is not None, "run before start"
        assert self._threads is not None, "run before start"
        if self._batcher is not None:
            self._batcher.add(call)
        elif self._shape.is_async:
            call.task = asyncio.create_task(self._call_async(self._shape, call))
        else:
            call.future = self._threads.submit(self._call, self._shape, call)

    async def _let_go(self, call: _Call) -> None:
        """Return once nothing of the call runs any more."""
        if call.task is not None:
            call.task.cancel()
            await asyncio.wait({call.task})
        elif call.future is not None and not call.future.cancel():
            await asyncio.wait({asyncio.wrap_future(call.future)})
        elif self._batcher is not None:
            task = self._batcher.discard(call)
            # The others of its batch want their results; only when nobody does, it is in the way.
            if task and all(c.cancelled.is_set() for c in self._batcher.items_of(task)):
                await asyncio.wait({task})

    def _call(self, shape: Shape, call: _Call) -> None:
        # The thread's whole work: nothing may escape, because nobody looks at its future.
        if call.cancelled.is_set():
            return
        call.report(Started())
        payload: Any = None
        try:
            payload = shape.read(call.job)
            output = call.wait(shape.predict(payload, call.context))
            if inspect.isgenerator(output):
                pieces = Pieces()
                for piece in output:
                    call.context.raise_if_cancelled()
                    _pass_on(piece, shape, call, pieces)
                end: Finished | Failed = Finished(pieces.joined())
            else:
                end = shape.write(output)
        except BaseException as error:
            end = _end_of(error, call)
        shape.forget(payload)
        call.report(end)

    async def _call_async(self, shape: Shape, call: _Call) -> None:
        call.report(Started())
        payload: Any = None
        try:
            payload = await _awaited(shape.read(call.job))
            output = shape.predict(payload, call.context)
            if inspect.isasyncgen(output):
                pieces = Pieces()
                async for piece in output:
                    _pass_on(piece, shape, call, pieces)
                    # One that never waits would keep the loop from hearing of a cancel.
                    await asyncio.sleep(0)
                end: Finished | Failed = Finished(pieces.joined())
            else:
                end = shape.write(await output)
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and call.cancelled.is_set():
                raise
            # SystemExit would end the process, and the CancelledError of something that the code
            # itself waits for would end the job without a word.
            end = _end_of(error, call)
        finally:
            shape.forget(payload)
        call.report(end)

    # --- Many jobs at once

    async def _compute_batch(self, calls: list[_Call]) -> None:
        assert self._shape is not None, "run before start"
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._threads, self._call_batch, self._shape, calls, loop)

    def _call_batch(
        self, shape: Shape, calls: list[_Call], loop: asyncio.AbstractEventLoop
    ) -> None:
        ready: list[tuple[_Call, Any]] = []
        for call in calls:
            if call.cancelled.is_set():
                continue
            call.report(Started())
            try:
                ready.append((call, shape.read(call.job)))
            except BaseException as error:
                call.report(_end_of(error, call))
        if ready:
            _predict_batch(shape, ready, loop)


def _predict_batch(
    shape: Shape, ready: list[tuple[_Call, Any]], loop: asyncio.AbstractEventLoop
) -> None:
    try:
        output = shape.predict([payload for _, payload in ready], [c.context for c, _ in ready])
        if inspect.iscoroutine(output):
            output = asyncio.run_coroutine_threadsafe(_contained(output), loop).result()
        outputs = outputs_of(output, len(ready))
    except BaseException as error:
        end = _end_of(error, ready[0][0])
        if len(ready) == 1 or end.code == DEVICE_LOST:
            for call, _ in ready:
                call.report(end)
            return
        # One of them may have spoiled it for all: each has one more try, alone.
        for one in ready:
            _predict_batch(shape, [one], loop)
        return
    for (call, _), output in zip(ready, outputs, strict=True):
        try:
            call.report(
                _end_of(output, call) if isinstance(output, Exception) else shape.write(output)
            )
        except BaseException as error:
            call.report(_end_of(error, call))


def _pass_on(piece: Any, shape: Shape, call: _Call, pieces: Pieces) -> None:
    if data := pieces.add(shape.piece(piece)):
        call.report(Delta(data))


def _end_of(error: BaseException, call: _Call) -> Failed:
    if isinstance(error, Cancelled) and call.cancelled.is_set():
        return Failed("Cancelled", "nobody wants the result")
    return failure_of(error)


async def _awaited(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


async def _contained(coroutine: Any) -> Any:
    """Await it for a thread, and let nothing but an Exception out, which is all a loop bears."""
    try:
        return await coroutine
    except (SystemExit, KeyboardInterrupt) as error:
        raise RuntimeError(last_line(error)) from error
