"""The engine `pipeline:TASK[:MODEL]`: any pipeline of transformers.

A job is plain text; or JSON, `{"inputs": ..., "parameters": {...}}`; or the bytes of an image, a
sound or a film, with its content type.  pipeline_inputs.py and pipeline_parameters.py list the
allowed `inputs` and `parameters` of each task, because the library would load code, open files and
fetch addresses that it finds there.  The result is the pipeline's output as JSON, with images as
data URLs; a single image is a PNG, a sound is a WAV file.  Requests of OpenAI's media APIs are jobs
too (pipeline_media.py).
"""

import asyncio
import base64
import copy
import io
import logging
import os
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from client_sdk.wire import media as media_paths
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
from inference_worker.engines.handler_files import Audio, File, as_data_url, file_of
from inference_worker.engines.locate import last_line
from inference_worker.engines.payload import to_bytes
from inference_worker.engines.transformers.batching import BatchThread
from inference_worker.engines.transformers.media import Media
from inference_worker.engines.transformers.options import PipelineOptions
from inference_worker.engines.transformers.pipeline_inputs import (
    ALIASES,
    Inputs,
    Parts,
    medium_of,
    most_pixels_of,
    read_inputs,
    task_names,
)
from inference_worker.engines.transformers.pipeline_lengths import (
    Lengths,
    context_of,
    text_config,
)
from inference_worker.engines.transformers.pipeline_media import pipeline_request
from inference_worker.engines.transformers.pipeline_parameters import (
    ModelSize,
    parameters_model,
    read_parameters,
)
from inference_worker.engines.transformers.request import first_mistake, read_request
from inference_worker.errors import BadEngine, EngineFailed

log = logging.getLogger(__name__)

#: The context length and the size of the vocabulary, if the model does not set them.
DEFAULT_CONTEXT = 4096
DEFAULT_VOCABULARY = 1

#: The sampling rate of sounds, per second, if the model does not set it.
DEFAULT_SAMPLING_RATE = 16_000

#: Exceptions of a pipeline for an input that it cannot read.
INPUT_ERRORS = (BadInput, ValueError, TypeError, KeyError, RecursionError)


#: torch's message if no token can be sampled: extreme penalties or temperatures, or suppressing all
#: tokens, make all probabilities 0 or infinite.
_NOTHING_TO_DRAW = "probability tensor contains"
NO_NUMBER = (
    "the parameters leave no token to sample (all are suppressed, or a number overflows), or the "
    "model's output for this input has NaN or infinity"
)


class PipelineRequest(BaseModel):
    """The JSON body of a job."""

    model_config = ConfigDict(extra="forbid")

    inputs: Any = None
    parameters: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Call:
    inputs: Inputs
    parameters: dict[str, Any]


class PipelineEngine(Engine):
    """Runs `pipeline:TASK` with the task's default model, or `pipeline:TASK:MODEL`."""

    def __init__(
        self, target: str, options: PipelineOptions, *, capacity: int | None = None
    ) -> None:
        super().__init__(f"pipeline:{target}", capacity=capacity or options.max_batch)
        task, _, model = target.partition(":")
        if task not in task_names():
            # For other tasks it is unknown which files or addresses their inputs open.
            raise BadEngine(f"a task, one of {', '.join(task_names())}", task)
        self._task = ALIASES.get(task, task)
        self._model_name = model or None
        self._options = options
        self._pipeline: Any = None
        self._reader: _Reader | None = None
        self._lengths: Lengths | None = None
        self._batches: BatchThread[_Call, Finished] | None = None

    async def start(self, context: Context) -> None:
        """Load the pipeline."""
        try:
            self._pipeline = await asyncio.to_thread(self._load, context)
            self._reader = _Reader(self._task, self._pipeline)
            self._lengths = Lengths(self._task, self._pipeline)
        except Exception as error:
            log.debug("The traceback of the loading:", exc_info=True)
            raise EngineFailed(self.name, last_line(error)) from error
        self._batches = BatchThread(self._compute, most=self._options.max_batch)

    async def run(self, job: Job) -> AsyncGenerator[Event, None]:
        """Call the pipeline with one job."""
        assert self._batches is not None, "run before start"
        assert self._reader is not None, "run before start"
        media = Media(
            most_pixels=self._options.max_pixels or most_pixels_of(self._task),
            longest_sound_s=self._options.max_sound_s,
        )
        try:
            # In a thread, because decoding an image or a sound takes time.
            call = await asyncio.to_thread(self._reader.read, job, media)
            yield Started()
            end: Event = await self._batches.result(call)
        except INPUT_ERRORS as error:
            message = str(error) if isinstance(error, BadInput) else last_line(error)
            end = Failed(BAD_INPUT, message, retryable=False)
        except Exception as error:
            end = Failed(BAD_INPUT, NO_NUMBER, False) if _overflowed(error) else failure_of(error)
        finally:
            media.close()
        yield end

    async def stop(self, grace_s: float) -> None:
        """End the thread."""
        if self._batches is not None:
            self._batches.stop()

    def _load(self, context: Context) -> Any:
        if self._options.local_files_only:
            # The only way that reaches all parts of the library's `pipeline`.
            os.environ["HF_HUB_OFFLINE"] = "1"
        # Imported here, so that the supervisor can create this object without importing torch.
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

    def _compute(self, calls: list[_Call]) -> list[Finished | Exception]:
        first = calls[0]
        if len(calls) == 1:
            return [self._finished(self._run(first))]
        if any(not c.inputs.can_join or c.parameters != first.parameters for c in calls):
            # Not similar: compute each alone.
            return [self._alone(call) for call in calls]
        together = Inputs([call.inputs.value for call in calls])
        outputs = self._run(_Call(together, {"batch_size": len(calls), **first.parameters}))
        if len(outputs) != len(calls):
            # The outputs cannot be matched to the jobs.
            return [self._alone(call) for call in calls]
        if self._task == "text-classification" and "top_k" not in first.parameters:
            # For a single text the library returns a list of one; do the same in a batch.
            outputs = [
                [output] if isinstance(call.inputs.value, str) else output
                for call, output in zip(calls, outputs, strict=True)
            ]
        return [self._finished(output) for output in outputs]

    def _finished(self, output: Any) -> Finished:
        if _is_image(output):
            return Finished(_png(output), content_type="image/png")
        if self._task == "text-to-audio" and self._options.sounds == "wav":
            if isinstance(output, list):
                return Finished(to_bytes([as_data_url(_wave(one)) for one in output]))
            return Finished((file := _wave(output)).data, content_type=file.media_type)
        return Finished(to_bytes(_plain(output)))

    def _alone(self, call: _Call) -> Finished | Exception:
        try:
            return self._finished(self._run(call))
        except Exception as error:
            return error

    def _run(self, call: _Call) -> Any:
        assert self._lengths is not None, "computed before start"
        # A copy, because the library modifies its parameters.
        parameters = copy.deepcopy(self._lengths.fitted(call.inputs.value, call.parameters))
        if call.inputs.named:
            return self._pipeline(**call.inputs.named, **parameters)
        return self._pipeline(call.inputs.value, **parameters)


class _Reader:
    """Parses the jobs of a pipeline; only checked values reach the library."""

    def __init__(self, task: str, pipeline: Any) -> None:
        self._task = task
        self._medium = medium_of(task)
        self._rate = _sampling_rate(pipeline)
        vocabulary = getattr(text_config(pipeline), "vocab_size", None) or DEFAULT_VOCABULARY
        size = ModelSize(context_of(pipeline) or DEFAULT_CONTEXT, vocabulary)
        self._parameters = parameters_model(task, size)
        self._spells_letters = str(getattr(pipeline, "type", "")).startswith("ctc")

    def read(self, job: Job, media: Media) -> _Call:
        """Return the call of the library; raises BadInput."""
        parts = Parts(media, self._rate)
        if job.path in media_paths.PATHS:
            return self._read_media(job, parts)
        kind = job.content_type.partition("/")[0].strip().lower()
        is_bytes = job.content_type.strip().lower().startswith("application/octet-stream")
        if is_bytes and self._medium != "text":
            kind = self._medium
        if kind in ("image", "audio", "video"):
            # A film is accepted as a sound; its sound track is used.
            if kind != self._medium and (kind, self._medium) != ("video", "audio"):
                expected = f"expected a job of kind {self._medium} for {self._task}"
                raise BadInput(f"{expected}, got {job.content_type}")
            return _Call(read_inputs(self._task, job.data, parts), {})
        try:
            body = read_request(job.data, job.content_type, kind="inputs")
            request = PipelineRequest.model_validate(body)
        except ValidationError as error:
            raise BadInput(first_mistake(error)) from None
        if request.inputs is None or request.inputs in ("", []):
            raise BadInput("inputs: expected a value, got nothing")
        parameters = read_parameters(self._parameters, request.parameters)
        return _Call(read_inputs(self._task, request.inputs, parts), parameters)

    def _read_media(self, job: Job, parts: Parts) -> _Call:
        asked = pipeline_request(
            self._task, job.path, job.data, spells_letters=self._spells_letters
        )
        if asked["inputs"] in (None, "", []):
            raise BadInput(f"{media_paths.MediaPath(job.path).main}: expected a value, got nothing")
        parameters = read_parameters(self._parameters, asked["parameters"])
        return _Call(read_inputs(self._task, asked["inputs"], parts), parameters)


def _overflowed(error: Exception) -> bool:
    return isinstance(error, RuntimeError) and _NOTHING_TO_DRAW in str(error)


def _sampling_rate(pipeline: Any) -> int:
    holder = getattr(pipeline, "feature_extractor", None) or getattr(
        getattr(pipeline, "processor", None), "feature_extractor", None
    )
    rate = getattr(holder, "sampling_rate", None)
    return rate if isinstance(rate, int) else DEFAULT_SAMPLING_RATE


def _is_image(value: Any) -> bool:
    return hasattr(value, "save") and hasattr(value, "getpixel")


def _wave(output: Any) -> File:
    made = file_of(Audio(output["audio"], int(output["sampling_rate"])))
    assert made is not None, "a sound is a file"
    return made


def _png(image: Any) -> bytes:
    png = io.BytesIO()
    image.save(png, format="PNG")
    return png.getvalue()


def _plain(value: Any) -> Any:
    """Convert a value for JSON: arrays become lists, images become data URLs."""
    if _is_image(value):
        return "data:image/png;base64," + base64.b64encode(_png(value)).decode()
    if isinstance(value, dict):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if hasattr(value, "tolist"):
        return value.tolist()
    return value
