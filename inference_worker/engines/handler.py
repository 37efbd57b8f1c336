"""A user's Python class, or a bare function, as an engine.

    class Sentiment:
        def setup(self, ctx): ...            # once, before the first job; `setup(self)` is as good
        def predict(self, text: str): ...    # per job; `predict(self, text, ctx)` is as good

What predict is given: the payload as bytes, unless its first parameter is annotated `str` (the
payload as UTF-8 text) or as a JSON type (`dict`, `list`, `int`, `float`, `bool`, or one of these
with parameters, or a TypedDict), or the class says so itself: `input_type = "bytes" | "text" |
"json"`.  What it returns: bytes as they are, text as UTF-8, None or nothing at all for no result
in the sink, and anything else as JSON.

A sync predict runs in a thread, `capacity` of them; an async one on the loop.  The class
attribute `concurrency` says how many jobs the code can take at once.
"""

import asyncio
import importlib
import inspect
import json
import logging
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, get_origin, is_typeddict

from inference_worker.engines.engine import (
    BAD_INPUT,
    Context,
    Engine,
    Event,
    Failed,
    Finished,
    Job,
    Progress,
    Started,
)
from inference_worker.errors import BadEngine, EngineFailed

#: How many jobs at once when neither the operator nor the class says; what PAI EAS takes.
DEFAULT_CAPACITY = 5

_JSON_TYPES = (dict, list, int, float, bool)

log = logging.getLogger(__name__)


class BadInput(Exception):
    """Raised by a handler: this input can never succeed.  The client is answered at once."""

    code = BAD_INPUT


class Retryable(Exception):
    """Raised by a handler: another attempt may succeed.

    code: the machine word that the client sees should every attempt fail.
    """

    def __init__(self, message: str = "", *, code: str = "Retryable") -> None:
        super().__init__(message)
        self.code = code


class HandlerEngine(Engine):
    """Runs `module:Class` or `module:function`."""

    def __init__(self, target: str, *, capacity: int | None = None) -> None:
        super().__init__(f"handler:{target}", capacity=capacity or DEFAULT_CAPACITY)
        self._target = target
        self._asked_capacity = capacity
        self._handler: Any = None
        self._predict: Callable[..., Any] = _not_loaded
        self._read: Callable[[bytes], object] = bytes
        self._with_context = False
        self._is_async = False
        self._threads: ThreadPoolExecutor | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, context: Context) -> None:
        """Import the module, make the instance, call its setup."""
        loaded = find(self._target)
        if inspect.isclass(loaded):
            at_most = getattr(loaded, "concurrency", None)
            self.capacity = _capacity(self._asked_capacity, at_most)
        self._threads = ThreadPoolExecutor(self.capacity, thread_name_prefix="predict")
        try:
            # In a thread, because loading a model takes minutes in which the loop has to go on.
            self._handler = await self._in_thread(_make, loaded, context)
            setup = getattr(self._handler, "setup", None)
            if inspect.iscoroutinefunction(setup):
                await (setup(context) if wants_context(setup, after=0) else setup())
        except Exception as error:
            log.debug("The traceback of the handler's setup:", exc_info=True)
            raise EngineFailed(self.name, last_line(error)) from error
        self._predict = _predict_of(self._handler, self._target)
        self._read = _reader(self._predict, getattr(loaded, "input_type", None))
        self._with_context = wants_context(self._predict, after=1)
        self._is_async = inspect.iscoroutinefunction(self._predict)

    async def run(self, job: Job) -> AsyncGenerator[Event, None]:
        """Call predict once."""
        loop = asyncio.get_running_loop()
        events: asyncio.Queue[Event] = asyncio.Queue()
        cancelled = threading.Event()

        def report(event: Event) -> None:
            # A thread that outlives a cancelled job may find the loop closed; nobody listens then.
            if not loop.is_closed():
                loop.call_soon_threadsafe(events.put_nowait, event)

        def progress(event: Progress) -> None:
            report(event)

        context = Context(job, report=progress, cancelled=cancelled.is_set)
        task = None
        if self._is_async:
            task = asyncio.create_task(self._call_async(job, context, events.put_nowait))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            assert self._threads is not None, "run before start"
            self._threads.submit(self._call, job, context, report)
        try:
            while True:
                event = await events.get()
                yield event
                if isinstance(event, Finished | Failed):
                    return
        finally:
            cancelled.set()
            if task is not None:
                task.cancel()

    async def stop(self, grace_s: float) -> None:
        """Call the handler's teardown, if it has one."""
        for task in list(self._tasks):
            task.cancel()
        teardown = getattr(self._handler, "teardown", None)
        if teardown is not None:
            try:
                async with asyncio.timeout(grace_s):
                    if inspect.iscoroutinefunction(teardown):
                        await teardown()
                    else:
                        await self._in_thread(teardown)
            except Exception as error:
                log.warning("The handler's teardown failed: %s", last_line(error))
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def _in_thread(self, function: Callable[..., Any], *arguments: object) -> Any:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, function, *arguments)

    def _call(self, job: Job, context: Context, report: Callable[[Event], None]) -> None:
        # The thread's whole work: nothing may escape, because nobody looks at its future.
        if context.is_cancelled():
            return
        report(Started())
        try:
            payload = self._read(job.data)
            output = (
                self._predict(payload, context) if self._with_context else self._predict(payload)
            )
            end: Event = Finished(to_bytes(output))
        except BaseException as error:
            end = _failed(error)
        report(end)

    async def _call_async(
        self, job: Job, context: Context, report: Callable[[Event], None]
    ) -> None:
        report(Started())
        try:
            payload = self._read(job.data)
            output = await (
                self._predict(payload, context) if self._with_context else self._predict(payload)
            )
            end: Event = Finished(to_bytes(output))
        except Exception as error:
            end = _failed(error)
        report(end)


def find(target: str) -> Any:
    """Import what `module:name` names; raise BadEngine when there is no such thing."""
    module_name, _, name = target.partition(":")
    if not module_name or not name:
        raise BadEngine("handler:module:Class", f"handler:{target}")
    try:
        found: Any = importlib.import_module(module_name)
    except Exception as error:
        raise BadEngine(f"a module {module_name} that can be imported", last_line(error)) from error
    for part in name.split("."):
        found = getattr(found, part, None)
        if found is None:
            raise BadEngine(f"a class or function {name} in {module_name}", "nothing of this name")
    if not callable(found):
        raise BadEngine(f"a class or function {name} in {module_name}", type(found).__name__)
    return found


def wants_context(function: Callable[..., Any], *, after: int) -> bool:
    """Say whether the function's next parameter, after this many, is for the context.

    One with a default is an option of the user's own, unless its name says otherwise.
    """
    positional = [
        parameter
        for parameter in inspect.signature(function).parameters.values()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    if len(positional) <= after:
        return False
    follows = positional[after]
    return follows.default is follows.empty or follows.name in ("ctx", "context")


def to_bytes(output: object) -> bytes:
    """Return what a handler returned as the payload of a sink entry; empty for none."""
    match output:
        case None:
            return b""
        case bytes():
            return output
        case bytearray() | memoryview():
            return bytes(output)
        case str():
            return output.encode()
        case _:
            return json.dumps(output, ensure_ascii=False, allow_nan=False).encode()


def last_line(error: BaseException) -> str:
    """Return `Class: sentence`, as the last line of a traceback has it."""
    sentence = str(error).strip().rpartition("\n")[2]
    name = type(error).__name__
    return f"{name}: {sentence}" if sentence else name


def _failed(error: BaseException) -> Failed:
    match error:
        case BadInput():
            return Failed(BAD_INPUT, str(error) or "the input was refused", retryable=False)
        case Retryable():
            return Failed(error.code, str(error) or "another attempt may succeed")
        case _:
            log.warning("The handler raised:", exc_info=error)
            return Failed(type(error).__name__, last_line(error))


def _capacity(asked: int | None, at_most: object) -> int:
    if at_most is None:
        return asked or DEFAULT_CAPACITY
    if not isinstance(at_most, int) or at_most < 1:
        raise BadEngine("a class attribute `concurrency` of at least 1", repr(at_most))
    # The code knows what it can bear and the operator what is wanted: the smaller one holds.
    return min(asked or at_most, at_most)


def _make(loaded: Any, context: Context) -> Any:
    if not inspect.isclass(loaded):
        return loaded
    instance = loaded()
    setup = getattr(instance, "setup", None)
    if setup is not None and not inspect.iscoroutinefunction(setup):
        if wants_context(setup, after=0):
            setup(context)
        else:
            setup()
    return instance


def _predict_of(handler: Any, target: str) -> Callable[..., Any]:
    predict = handler if inspect.isfunction(handler) else getattr(handler, "predict", handler)
    if not callable(predict):
        raise BadEngine(f"a method predict in {target}", "a class without one")
    if inspect.isgeneratorfunction(predict) or inspect.isasyncgenfunction(predict):
        raise BadEngine(f"a predict in {target} that returns its result", "one that yields")
    signature = inspect.signature(predict)
    try:
        signature.bind(*range(2 if wants_context(predict, after=1) else 1))
    except TypeError:
        expected = f"predict(input) or predict(input, ctx) in {target}"
        raise BadEngine(expected, f"predict{signature}") from None
    return predict


def _reader(predict: Callable[..., Any], input_type: object) -> Callable[[bytes], object]:
    if input_type is None:
        input_type = _annotated_type(predict)
    readers: dict[object, Callable[[bytes], object]] = {
        "bytes": bytes,
        "text": _read_text,
        "json": _read_json,
    }
    if input_type not in readers:
        raise BadEngine(f"an input_type of {', '.join(map(str, readers))}", repr(input_type))
    return readers[input_type]


def _annotated_type(predict: Callable[..., Any]) -> str:
    first = next(iter(inspect.signature(predict).parameters.values()))
    annotation = first.annotation
    if isinstance(annotation, str):
        # Only this one annotation is evaluated: the others may name what only a type checker sees.
        function = inspect.unwrap(getattr(predict, "__func__", predict))
        annotation = eval(annotation, getattr(function, "__globals__", {}))
    if annotation is str:
        return "text"
    kind = get_origin(annotation) or annotation
    return "json" if kind in _JSON_TYPES or is_typeddict(kind) else "bytes"


def _read_text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise BadInput(f"expected UTF-8 text, got another byte at {error.start}") from error


def _read_json(data: bytes) -> object:
    try:
        return json.loads(data)
    except ValueError as error:
        raise BadInput(f"expected JSON: {error}") from error


def _not_loaded(*arguments: object) -> None:
    raise RuntimeError("a job was run before the handler was loaded")
