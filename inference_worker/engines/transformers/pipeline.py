"""Any pipeline of transformers by the name of its task: `pipeline:TASK[:MODEL]`.

A job is plain text; or JSON, `{"inputs": ..., "parameters": {...}}`, both handed to the pipeline
as they are; or an image or a sound as its bytes, with a content type that says so.  The answer
is what the pipeline returns, as JSON; a single image is a PNG.
"""

import asyncio
import io
import logging
import os
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from inference_worker.engines.engine import (
    BAD_INPUT,
    Context,
    Engine,
    Event,
    Failed,
    Finished,
    Job,
    Started,
)
from inference_worker.engines.failures import BadInput, failure_of
from inference_worker.engines.locate import last_line
from inference_worker.engines.payload import to_bytes
from inference_worker.engines.transformers.batching import BatchThread
from inference_worker.engines.transformers.options import PipelineOptions
from inference_worker.engines.transformers.request import first_mistake, read_request
from inference_worker.errors import EngineFailed

log = logging.getLogger(__name__)

#: What a pipeline raises for an input that it cannot read, whoever runs it.
INPUT_ERRORS = (BadInput, ValueError, TypeError, KeyError)


class PipelineRequest(BaseModel):
    """The body of a job that is JSON."""

    model_config = ConfigDict(extra="forbid")

    inputs: Any = None
    parameters: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Call:
    inputs: Any
    parameters: dict[str, Any]


class PipelineEngine(Engine):
    """Runs `pipeline:TASK` with the task's usual model, or `pipeline:TASK:MODEL`."""

    def __init__(
        self, target: str, options: PipelineOptions, *, capacity: int | None = None
    ) -> None:
        super().__init__(f"pipeline:{target}", capacity=capacity or options.max_batch)
        self._task, _, model = target.partition(":")
        self._model_name = model or None
        self._options = options
        self._pipeline: Any = None
        self._batches: BatchThread[_Call, bytes] | None = None

    async def start(self, context: Context) -> None:
        """Load the pipeline."""
        try:
            self._pipeline = await asyncio.to_thread(self._load, context)
        except Exception as error:
            log.debug("The traceback of the loading:", exc_info=True)
            raise EngineFailed(self.name, last_line(error)) from error
        self._batches = BatchThread(self._compute, most=self._options.max_batch)

    async def run(self, job: Job) -> AsyncGenerator[Event, None]:
        """Call the pipeline with one job."""
        assert self._batches is not None, "run before start"
        try:
            call = _read(job)
        except BadInput as error:
            yield Failed(BAD_INPUT, str(error), retryable=False)
            return
        yield Started()
        try:
            output = await self._batches.result(call)
        except INPUT_ERRORS as error:
            end: Event = Failed(BAD_INPUT, last_line(error), retryable=False)
        except Exception as error:
            end = failure_of(error)
        else:
            end = Finished(output)
        yield end

    async def stop(self, grace_s: float) -> None:
        """End the thread."""
        if self._batches is not None:
            self._batches.stop()

    def _load(self, context: Context) -> Any:
        if self._options.local_files_only:
            # The library's `pipeline` cannot be told in any other way that reaches all its parts.
            os.environ["HF_HUB_OFFLINE"] = "1"
        # Here, so that the supervisor can make this object without paying for torch.
        from transformers import pipeline  # noqa: PLC0415

        from inference_worker.engines.transformers import loading  # noqa: PLC0415

        return pipeline(
            self._task,
            model=self._model_name,
            dtype=self._options.dtype,
            device=loading.prepare_torch(self._options, asked_device=context.asked_device),
            revision=self._options.revision,
            trust_remote_code=self._options.trust_remote_code,
        )

    def _compute(self, calls: list[_Call]) -> list[bytes | Exception]:
        first = calls[0]
        if len(calls) == 1:
            return [_to_bytes(self._pipeline(first.inputs, **first.parameters))]
        if any(call.parameters != first.parameters for call in calls):
            # Not alike: each is computed alone.
            return [self._compute([call])[0] for call in calls]
        inputs = [call.inputs for call in calls]
        outputs = self._pipeline(inputs, batch_size=len(inputs), **first.parameters)
        return [_to_bytes(output) for output in outputs]


def _read(job: Job) -> _Call:
    kind = job.content_type.partition("/")[0].strip().lower()
    if kind == "image":
        return _Call(_image(job.data), {})
    if kind in ("audio", "video") or job.content_type.startswith("application/octet-stream"):
        return _Call(job.data, {})
    try:
        body = read_request(job.data, job.content_type, kind="inputs")
        request = PipelineRequest.model_validate(body)
    except ValidationError as error:
        raise BadInput(first_mistake(error)) from None
    if request.inputs is None or request.inputs in ("", []):
        raise BadInput("inputs: expected something, got nothing")
    return _Call(request.inputs, request.parameters)


def _image(data: bytes) -> Any:
    try:
        from PIL import Image, UnidentifiedImageError  # noqa: PLC0415
    except ModuleNotFoundError:
        sentence = "this worker cannot read images: its machine needs `pip install pillow`"
        raise BadInput(sentence) from None
    try:
        image = Image.open(io.BytesIO(data))
        image.load()
    except (UnidentifiedImageError, OSError, ValueError) as error:
        raise BadInput(f"expected an image: {error}") from None
    return image


def _to_bytes(output: Any) -> bytes:
    """Return what a pipeline returned as the payload of a sink entry."""
    if hasattr(output, "save") and hasattr(output, "getpixel"):
        png = io.BytesIO()
        output.save(png, format="PNG")
        return png.getvalue()
    return to_bytes(_plain(output))


def _plain(value: Any) -> Any:
    """Return the value with arrays and numbers of numpy and torch as JSON has them."""
    if isinstance(value, dict):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if hasattr(value, "tolist"):
        return value.tolist()
    return value
