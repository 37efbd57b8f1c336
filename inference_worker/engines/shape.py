"""The common interface of all formats of user code, for the handler engine.

    setup(ctx)  then, for each job:  read(job) -> predict(input, ctx) -> write(output)

The adapter of our own format, `handler`, is here; allspark.py, cog.py and runpod.py have the
others.
"""

import inspect
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from inference_worker.engines import openai_requests
from inference_worker.engines.arguments import TEXT, Arguments, Typed, typed_inputs
from inference_worker.engines.engine import Context, Failed, Finished, Job
from inference_worker.engines.handler_files import file_of
from inference_worker.engines.job_content import finished_with, is_output_file, with_files_of
from inference_worker.engines.locate import find, is_async, wants_context
from inference_worker.engines.outputs import described_output, is_declared
from inference_worker.engines.parameters import context_name, undescribed
from inference_worker.engines.payload import (
    Pieces,
    item_reader_of,
    reader_of,
    reads_text,
    to_bytes,
)
from inference_worker.engines.user_thread import is_awaitable
from inference_worker.errors import BadEngine
from inference_worker.log_messages import CHAT_AS_TEXT, LogOnce

log = logging.getLogger(__name__)

#: The most inputs of one predict_batch, and how long the first of them waits for others, in
#: seconds, if the class does not set them.
DEFAULT_BATCH_SIZE = 8
DEFAULT_BATCH_TIMEOUT_S = 0.01


def _done(output: object, *, converts: bool = False) -> Finished | Failed:
    if is_output_file(output):
        return finished_with(output)
    if (file := file_of(output)) is not None:
        return Finished(file.data, content_type=file.media_type)
    return Finished(to_bytes(output, converts=converts))


def _joined(pieces: Pieces) -> Finished | Failed:
    return Finished(pieces.joined())


#: The most characters of a handler's description.
MOST_ABOUT = 500


@dataclass(slots=True)
class Shape:
    """The functions that the engine calls.

    read: from a job to an input.  predict: from an input to an output, or to a generator, a
    coroutine or an async generator.  is_async: whether it is a coroutine or an async generator.
    write: from an output to the end of the job.
    piece: converts a yielded output before it becomes bytes; a Failed ends the job.
    converts: whether yielded outputs may have models, sets, dates and files in their JSON.
    finish: from all yielded outputs to the end of the job.
    forget: called with the input after the job has ended.
    refreshes: whether an output, or a piece, asks for a new engine process after its job.
    setup, health, teardown: of the user's code; setup and teardown may return a coroutine.
    concurrency: how many calls of predict the code supports at once; None leaves it to the
    operator.
    batch_size: 0, or the most inputs of predict, which then gets a list of inputs and a list of
    contexts.  batch_timeout_s: how long the first input waits for others.
    takes_path: whether a payload that is a file, and no JSON, is read as its path.
    inputs, output: the JSON Schemas of both, for the queue service; empty if they are not declared.
    about: what the code says of itself, for people: the first paragraph of its docstring.
    """

    read: Callable[[Job], Any]
    predict: Callable[[Any, Any], Any]
    write: Callable[[Any], Finished | Failed] = _done
    piece: Callable[[Any], Any] = lambda output: output
    converts: bool = False
    finish: Callable[[Pieces], Finished | Failed] = _joined
    forget: Callable[[Any], None] = lambda payload: None
    refreshes: Callable[[Any], bool] = lambda output: False
    is_async: bool = False
    setup: Callable[[Context], Any] | None = None
    health: Callable[[], Any] | None = None
    teardown: Callable[[], Any] | None = None
    concurrency: int | None = None
    batch_size: int = 0
    batch_timeout_s: float = DEFAULT_BATCH_TIMEOUT_S
    takes_path: bool = False
    inputs: Mapping[str, Any] = field(default_factory=dict)
    output: Mapping[str, Any] = field(default_factory=dict)
    about: str = ""


def handler_shape(target: str) -> Shape:
    """Return the shape of `module:Class` or `module:function`; creates the instance."""
    loaded = find(target)
    is_class = inspect.isclass(loaded)
    handler = loaded() if is_class else loaded
    setup = getattr(handler, "setup", None)
    is_batch = hasattr(handler, "predict_batch")
    predict = handler.predict_batch if is_batch else _predict_of(handler, target)
    input_type = getattr(loaded, "input_type", None)
    before = getattr(handler, "preprocess", None)
    after = getattr(handler, "postprocess", None)
    typed = None
    if input_type is None:
        typed = typed_inputs(before or predict, is_batch=is_batch and before is None)
    if typed is None or before is not None or not typed.is_by_name:
        _check_call(predict, target, is_batch=is_batch)
    # Without annotations a handler is what it was before there were any.
    converts = typed is not None or is_declared(after or predict)
    shape = Shape(
        read=_untyped_read(before, predict, input_type, target, is_batch=is_batch),
        predict=_with_context(predict),
        write=partial(_done, converts=converts),
        converts=converts,
        is_async=is_async(predict),
        health=getattr(handler, "health", None),
        teardown=getattr(handler, "teardown", None),
        concurrency=_at_least_one(loaded, "concurrency", None) if is_class else None,
        output=described_output(after or predict, is_batch=is_batch and after is None),
        about=_about(loaded),
    )
    if typed is not None:
        _type(shape, typed, before, predict, target)
    if setup is not None and is_class:
        shape.setup = setup if wants_context(setup, after=0) else lambda context: setup()
    if after is not None:
        shape.write, shape.piece = lambda output: _done(after(output), converts=converts), after
    if is_batch:
        shape.batch_size = _at_least_one(loaded, "max_batch_size", DEFAULT_BATCH_SIZE) or 0
        shape.batch_timeout_s = float(getattr(loaded, "batch_timeout", DEFAULT_BATCH_TIMEOUT_S))
    return shape


def _about(loaded: object) -> str:
    # Not of a base class, nor of a library's function object.
    text = loaded.__dict__.get("__doc__") if inspect.isclass(loaded) else loaded.__doc__
    paragraph = inspect.cleandoc(text).partition("\n\n")[0] if isinstance(text, str) else ""
    return " ".join(paragraph.split())[:MOST_ABOUT]


def _untyped_read(
    before: Callable[..., Any] | None,
    predict: Callable[..., Any],
    input_type: object,
    target: str,
    *,
    is_batch: bool,
) -> Callable[[Job], Any]:
    """Return how a job is read by the annotation of the first parameter alone."""
    if before is not None:
        read = reader_of(before, input_type)
    else:
        read = (item_reader_of if is_batch else reader_of)(predict, input_type)
    once = LogOnce(log)

    def read_job(job: Job) -> Any:
        if job.path in openai_requests.TEXT and reads_text(read):
            once.info(CHAT_AS_TEXT, target)
        value = with_files_of(job, read(job.data))
        return before(value) if before else value

    return read_job


def _with_context(predict: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    if wants_context(predict, after=1):
        return predict
    return lambda value, context: predict(value)


def _type(
    shape: Shape,
    typed: Typed,
    before: Callable[..., Any] | None,
    predict: Callable[..., Any],
    target: str,
) -> None:
    """Have a shape convert and validate the inputs by all annotations."""
    plain, takes_text, once = shape.predict, TEXT in typed.described["content_types"], LogOnce(log)
    name = context_name(predict)

    def read(job: Job) -> Any:
        if job.path in openai_requests.TEXT and takes_text:
            once.info(CHAT_AS_TEXT, target)
        arguments = typed.read(job)
        if before is None:
            return arguments
        try:
            values = arguments.values
            arguments.values = before(**values) if typed.is_by_name else before(values)
        except BaseException:
            arguments.received.remove()
            raise
        return _settled(arguments) if is_awaitable(arguments.values) else arguments

    def call(given: Any, context: Any) -> Any:
        if isinstance(given, list):
            return plain([one.values for one in given], context)
        if before is None and typed.is_by_name:
            return predict(**given.values, **({name: context} if name else {}))
        return plain(given.values, context)

    shape.read, shape.predict, shape.forget = read, call, _forget
    shape.inputs = typed.described
    shape.takes_path = typed.takes_path


async def _settled(arguments: Arguments) -> Arguments:
    arguments.values = await arguments.values
    return arguments


def _forget(given: Any) -> None:
    if isinstance(given, Arguments):
        given.received.remove()


def _predict_of(handler: Any, target: str) -> Callable[..., Any]:
    predict = handler if inspect.isfunction(handler) else getattr(handler, "predict", handler)
    if not callable(predict):
        raise BadEngine(f"a method predict or predict_batch in {target}", "a class without one")
    found: Callable[..., Any] = predict
    return found


def _check_call(predict: Callable[..., Any], target: str, *, is_batch: bool) -> None:
    signature = inspect.signature(predict)
    try:
        signature.bind(*range(2 if wants_context(predict, after=1) else 1))
    except TypeError:
        if odd := undescribed(predict):
            expected = f"annotations of types that JSON can describe in {target}"
            raise BadEngine(expected, odd) from None
        name = "predict_batch(inputs)" if is_batch else "predict(input)"
        expected = f"{name} or {name[:-1]}, ctx) in {target}"
        raise BadEngine(expected, f"{predict.__name__}{signature}") from None


def _at_least_one(loaded: Any, name: str, default: int | None) -> int | None:
    value = getattr(loaded, name, default)
    if value is not None and (not isinstance(value, int) or value < 1):
        raise BadEngine(f"a class attribute `{name}` of at least 1", repr(value))
    return value
