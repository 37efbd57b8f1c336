"""A user's Python class, or a bare function, as an engine.

    class Sentiment:
        def setup(self, ctx): ...            # once, before the first job; `setup(self)` is as good
        def predict(self, text: str): ...    # per job; `predict(self, text, ctx)` is as good

What predict is given: the payload as bytes, unless its first parameter is annotated `str` (the
payload as UTF-8 text) or as a JSON type (`dict`, `list`, `int`, `float`, `bool`, or one of these
with parameters, or a TypedDict), or the class says so itself: `input_type = "bytes" | "text" |
"json"`.  What it returns: bytes as they are, text as UTF-8, None or nothing at all for no result
in the sink, and anything else as JSON.  What it yields are pieces of the result.

The module is imported, and setup is called, in the main thread of the engine's process.  A sync
predict runs there too when there is one job at a time, and otherwise in threads, `capacity` of
them; an async one runs on the main thread's event loop.  The class attribute `concurrency` says
how many jobs the code can take at once; without it the operator's window holds, which is five by
default, as with PAI EAS.  `predict_batch` takes a list.
"""

import asyncio
import inspect
import logging
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

from inference_worker.engines.allspark import allspark_shape
from inference_worker.engines.batch import Batcher
from inference_worker.engines.call import Call
from inference_worker.engines.cog import cog_shape
from inference_worker.engines.engine import (
    DEVICE_LOST,
    Context,
    Engine,
    Event,
    Failed,
    Finished,
    Health,
    Job,
    Started,
    State,
)
from inference_worker.engines.locate import last_line, line_and_place
from inference_worker.engines.payload import outputs_of
from inference_worker.engines.runpod import runpod_shape
from inference_worker.engines.shape import Shape, handler_shape
from inference_worker.engines.tracebacks import log_load_failure
from inference_worker.engines.user_thread import (
    LoopTask,
    PoolThread,
    UserThread,
    is_awaitable,
)
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


class HandlerEngine(Engine):
    """Runs `module:Class` or `module:function`, in our own shape or in that of others."""

    def __init__(self, target: str, *, capacity: int | None = None, kind: str = "handler") -> None:
        super().__init__(f"{kind}:{target}", capacity=capacity or DEFAULT_CAPACITY)
        self._target = target
        self._load_shape = SHAPES[kind]
        self._asked_capacity = capacity
        self._device = ""
        self._shape: Shape | None = None
        self._batcher: Batcher[Call] | None = None
        self._user: UserThread | None = None
        self._threads: Executor | None = None
        # Its own, so that a full house of jobs does not make the handler look sick.
        self._health_thread = ThreadPoolExecutor(1, thread_name_prefix="health")

    async def start(self, context: Context) -> None:
        """Import the module, make the instance, call its setup."""
        self._device = context.asked_device
        loop = asyncio.get_running_loop()
        # Loading a model takes minutes, in which this loop has to go on.
        user = self._user = self.main_thread or PoolThread()
        waits_on_loop = False
        try:
            shape = await loop.run_in_executor(user.executor, self._load_shape, self._target)
            if shape.setup is not None:
                output = await loop.run_in_executor(user.executor, shape.setup, context)
                waits_on_loop = is_awaitable(output)
                await user.settle(output)
        except WorkerError as error:
            if error.__cause__ is not None:
                log_load_failure(log, self.name, error.__cause__)
            raise
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            log_load_failure(log, self.name, error)
            raise EngineFailed(self.name, line_and_place(error)) from error
        self._shape = shape
        calls = self._size(shape)
        if shape.is_async or waits_on_loop or calls > 1:
            user.run_loop()
            self._threads = ThreadPoolExecutor(calls, thread_name_prefix="predict")
        else:
            # predict runs where setup did, which some libraries insist on.
            self._threads = user.executor

    def _size(self, shape: Shape) -> int:
        """Set the capacity; return how many calls that makes at once."""
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
        return (shape.concurrency or 1) if shape.batch_size else self.capacity

    async def run(self, job: Job) -> AsyncGenerator[Event, None]:
        """Call predict once, or have the job computed with others."""
        assert self._shape is not None, "run before start"
        assert self._user is not None, "run before start"
        call = Call(job, shape=self._shape, user=self._user, device=self._device)
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
            if has_ended:
                call.cancelled.set()
            else:
                call.cancel()
                await self._let_go(call)

    async def health(self) -> Health:
        """Ask the handler, if it has a health."""
        if self._shape is None or self._shape.health is None:
            return Health(State.OK)
        try:
            said = await self._ask(self._shape.health)
        except (Exception, SystemExit) as error:
            return Health(State.DEAD, last_line(error))
        return Health(State.OK) if said is not False else Health(State.DEAD, "the handler says so")

    async def stop(self, grace_s: float) -> None:
        """Call the handler's teardown, if it has one."""
        teardown = self._shape.teardown if self._shape else None
        if teardown is not None:
            try:
                async with asyncio.timeout(grace_s):
                    await self._ask(teardown)
            except (Exception, SystemExit) as error:
                log.warning("The handler's teardown failed: %s", last_line(error))
        if self._user is not None:
            self._user.stop()
        for threads in (self._threads, self._health_thread):
            if isinstance(threads, ThreadPoolExecutor):
                threads.shutdown(wait=False, cancel_futures=True)

    async def _ask(self, question: Callable[[], Any]) -> Any:
        assert self._user is not None, "asked before start"
        loop = asyncio.get_running_loop()
        output = await loop.run_in_executor(self._health_thread, question)
        if self._threads is self._user.executor:
            # The user's thread may be busy with a job for an hour, and its loop with it.
            return await output if is_awaitable(output) else output
        return await self._user.settle(output)

    # --- One job

    def _begin(self, call: Call) -> None:
        assert self._shape is not None, "run before start"
        assert self._user is not None, "run before start"
        assert self._threads is not None, "run before start"
        if self._batcher is not None:
            self._batcher.add(call)
        elif self._shape.is_async:
            call.task = LoopTask(call.run_on_loop(), self._user.loop)
        else:
            call.future = self._threads.submit(call.run)

    async def _let_go(self, call: Call) -> None:
        """Return once nothing of the call runs any more."""
        if call.task is not None:
            await call.task.cancel()
        elif call.future is not None and not call.future.cancel():
            await asyncio.wait({asyncio.wrap_future(call.future)})
        elif self._batcher is not None:
            task = self._batcher.discard(call)
            # The others of its batch want their results; only when nobody does, it is in the way.
            if task and all(c.cancelled.is_set() for c in self._batcher.items_of(task)):
                await asyncio.wait({task})

    # --- Many jobs at once

    async def _compute_batch(self, calls: list[Call]) -> None:
        assert self._shape is not None, "run before start"
        assert self._user is not None, "run before start"
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._threads, _call_batch, self._shape, calls, self._user)


def _call_batch(shape: Shape, calls: list[Call], user: UserThread) -> None:
    ready: list[tuple[Call, Any]] = []
    for call in calls:
        if call.cancelled.is_set():
            continue
        call.report(Started())
        try:
            ready.append((call, shape.read(call.job)))
        except BaseException as error:
            call.report(call.end_of(error))
    if ready:
        _predict_batch(shape, ready, user)


def _predict_batch(shape: Shape, ready: list[tuple[Call, Any]], user: UserThread) -> None:
    try:
        output = shape.predict([payload for _, payload in ready], [c.context for c, _ in ready])
        if inspect.iscoroutine(output):
            output = user.finish(output)
        outputs = outputs_of(output, len(ready))
    except BaseException as error:
        end = ready[0][0].end_of(error)
        if len(ready) == 1 or end.code == DEVICE_LOST:
            for call, _ in ready:
                call.report(end)
            return
        # One of them may have spoiled it for all: each has one more try, alone.
        for one in ready:
            _predict_batch(shape, [one], user)
        return
    for (call, _), output in zip(ready, outputs, strict=True):
        try:
            call.report(
                call.end_of(output) if isinstance(output, Exception) else shape.write(output)
            )
        except BaseException as error:
            call.report(call.end_of(error))
