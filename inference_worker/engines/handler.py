"""A user's Python class or function as an engine.

    class Sentiment:
        def setup(self, ctx): ...            # once, before the first job; `setup(self)` works too
        def predict(self, text: str): ...    # per job; `predict(self, text, ctx)` works too

The input of predict is the payload as bytes, or what its annotations say (arguments.py).  The class
can set it instead with `input_type = "bytes" | "text" | "json"`.  Returned bytes are the result,
and so is the content of a returned Path or open file; text is encoded as UTF-8, None means no
result, and anything else becomes JSON.  Yielded values are pieces of the result.

The module is imported, and setup is called, in the main thread of the engine's process.  A sync
predict runs there too if there is one job at a time, otherwise in `capacity` threads; an async one
runs on the main thread's event loop.  The class attribute `concurrency` limits how many jobs run at
once; without it the operator's setting applies, which is five by default, as with PAI EAS.
`predict_batch` gets a list.
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
    EngineState,
    Event,
    Failed,
    Finished,
    Health,
    Job,
    Started,
)
from inference_worker.engines.failures import failure_of
from inference_worker.engines.interface import encoded_interface
from inference_worker.engines.job_content import may_be_json
from inference_worker.engines.job_log import attributed_to
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

#: How many jobs run at once if neither the operator nor the class sets it; PAI EAS's default.
DEFAULT_CAPACITY = 5

#: The format of a user's code, by the part of the engine's name before the first colon.
SHAPES: dict[str, Callable[[str], Shape]] = {
    "handler": handler_shape,
    "allspark": allspark_shape,
    "runpod": runpod_shape,
    "cog": cog_shape,
}

log = logging.getLogger(__name__)


class HandlerEngine(Engine):
    """Runs `module:Class` or `module:function`, in our own format or another one."""

    def __init__(self, target: str, *, capacity: int | None = None, kind: str = "handler") -> None:
        super().__init__(f"{kind}:{target}", capacity=capacity or DEFAULT_CAPACITY)
        # The others take data URLs.
        self.takes_files = kind == "handler"
        self._target = target
        self._load_shape = SHAPES[kind]
        self._asked_capacity = capacity
        self._device = ""
        self._shape: Shape | None = None
        self._batcher: Batcher[Call] | None = None
        self._user: UserThread | None = None
        self._threads: Executor | None = None
        # A separate thread, so that a health check succeeds even if all others run jobs.
        self._health_thread = ThreadPoolExecutor(1, thread_name_prefix="health")

    async def start(self, context: Context) -> None:
        """Import the module, create the instance, call its setup."""
        self._device = context.asked_device
        loop = asyncio.get_running_loop()
        # In the user's thread: loading a model takes minutes and must not block this loop.
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
        self.interface = encoded_interface(shape.inputs, shape.output, shape.about)
        calls = self._size(shape)
        if shape.is_async or waits_on_loop or calls > 1:
            user.run_loop()
            self._threads = ThreadPoolExecutor(calls, thread_name_prefix="predict")
        else:
            # predict runs in the same thread as setup; some libraries require that.
            self._threads = user.executor

    def _size(self, shape: Shape) -> int:
        """Set the capacity; return how many calls run at once."""
        at_most = shape.concurrency
        if shape.batch_size:
            at_most = shape.batch_size * (shape.concurrency or 1)
            self._batcher = Batcher(
                self._compute_batch,
                size=shape.batch_size,
                timeout_s=shape.batch_timeout_s,
                concurrency=shape.concurrency or 1,
            )
        # The smaller one: the class knows what its code supports, the operator what the machine can
        # run.
        wanted = self._asked_capacity or at_most or DEFAULT_CAPACITY
        self.capacity = min(wanted, at_most or wanted)
        return (shape.concurrency or 1) if shape.batch_size else self.capacity

    async def run(self, job: Job) -> AsyncGenerator[Event, None]:
        """Call predict for this job alone, or together with others."""
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

    def takes_path(self, job: Job) -> bool:
        """Take the path of a payload that is no JSON, if the handler takes a path."""
        return self._shape is not None and self._shape.takes_path and not may_be_json(job)

    async def health(self) -> Health:
        """Call the handler's `health`, if it has one."""
        if self._shape is None or self._shape.health is None:
            return Health(EngineState.OK)
        try:
            answer = await self._ask(self._shape.health)
        except (Exception, SystemExit) as error:
            return Health(EngineState.DEAD, last_line(error))
        if answer is False:
            return Health(EngineState.DEAD, "the handler's health() returned False")
        return Health(EngineState.OK)

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
            # Not on the user's thread, which may run one job for an hour.
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
        """Wait until nothing of a cancelled call is running any more."""
        if call.task is not None:
            await call.task.cancel()
        elif call.future is not None and not call.future.cancel():
            await asyncio.wait({asyncio.wrap_future(call.future)})
        elif self._batcher is not None:
            task = self._batcher.discard(call)
            # The other jobs of its batch need their results.  Wait only if all were cancelled: then
            # the batch would just block the slots.
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
            with attributed_to(call.log):
                ready.append((call, shape.read(call.job)))
        except BaseException as error:
            call.end(call.end_of(error))
    try:
        if ready:
            _predict_batch(shape, ready, user)
    finally:
        for _, payload in ready:
            shape.forget(payload)


def _predict_batch(shape: Shape, ready: list[tuple[Call, Any]], user: UserThread) -> None:
    # What a call for several jobs prints may be about any of them, and they may belong to several
    # owners, so it goes to the log of none.
    log = ready[0][0].log if len(ready) == 1 else None
    try:
        with attributed_to(log):
            output = shape.predict([payload for _, payload in ready], [c.context for c, _ in ready])
            if inspect.iscoroutine(output):
                output = user.finish(output)
        outputs = outputs_of(output, len(ready))
    except BaseException as error:
        end = failure_of(error) if log is None else ready[0][0].end_of(error)
        if len(ready) == 1 or end.code == DEVICE_LOST:
            for call, _ in ready:
                call.end(end)
            return
        # One input may have failed the whole batch, so compute each alone.
        for one in ready:
            _predict_batch(shape, [one], user)
        return
    for (call, _), output in zip(ready, outputs, strict=True):
        try:
            call.end(call.end_of(output) if isinstance(output, Exception) else shape.write(output))
        except BaseException as error:
            call.end(call.end_of(error))
