"""The engine `pipeline:text-to-image:MODEL`, and `image-to-image` and `inpainting`: diffusers.

A job is the prompt as plain text; or JSON, `{"inputs": ..., "parameters": {...}}`; or a request of
OpenAI's images API.  The result is a PNG, or a JSON list of data URLs for several pictures.  Each
step is reported as progress, and a canceled job ends at its next step.
"""

import asyncio
import io
import json
import logging
import os
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pydantic import ValidationError

from inference_worker.engines.data_url import encode
from inference_worker.engines.engine import (
    BAD_INPUT,
    Cancelled,
    Context,
    Engine,
    Event,
    Failed,
    Finished,
    Job,
    Progress,
    Started,
)
from inference_worker.engines.failures import BadInput, failure_of
from inference_worker.engines.locate import last_line
from inference_worker.engines.transformers.diffusion_request import (
    MOST_PIXELS_MADE,
    TASKS,
    Painting,
    read_painting,
)
from inference_worker.engines.transformers.media import Media
from inference_worker.engines.transformers.options import PipelineOptions
from inference_worker.errors import BadEngine, EngineFailed

log = logging.getLogger(__name__)

_CLASSES = {
    "text-to-image": "AutoPipelineForText2Image",
    "image-to-image": "AutoPipelineForImage2Image",
    "inpainting": "AutoPipelineForInpainting",
}


class DiffusionEngine(Engine):
    """Runs one picture job at a time: several at once would only share the device."""

    def __init__(
        self, target: str, options: PipelineOptions, *, capacity: int | None = None
    ) -> None:
        super().__init__(f"pipeline:{target}", capacity=capacity or 1)
        self._task, _, self._model = target.partition(":")
        if self._task not in TASKS or not self._model:
            raise BadEngine(f"pipeline:{self._task}:MODEL", target)
        self._options = options
        self._pipeline: Any = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="diffusion")

    async def start(self, context: Context) -> None:
        """Load the pipeline."""
        loop = asyncio.get_running_loop()
        try:
            self._pipeline = await loop.run_in_executor(self._thread, self._load, context)
        except Exception as error:
            log.debug("The traceback of the loading:", exc_info=True)
            raise EngineFailed(self.name, last_line(error)) from error

    async def run(self, job: Job) -> AsyncGenerator[Event, None]:
        """Compute one job; a cancel ends it at its next step."""
        loop, cancelled = asyncio.get_running_loop(), threading.Event()
        events: asyncio.Queue[Event] = asyncio.Queue()

        def report(event: Event) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(events.put_nowait, event)

        running = self._thread.submit(self._run, job, report, cancelled)
        try:
            while True:
                event = await events.get()
                yield event
                if isinstance(event, Finished | Failed):
                    return
        finally:
            cancelled.set()
            if not running.cancel():
                await asyncio.wait({asyncio.wrap_future(running)})

    async def stop(self, grace_s: float) -> None:
        """End the thread."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _load(self, context: Context) -> Any:
        options = self._options
        if options.local_files_only:
            os.environ["HF_HUB_OFFLINE"] = "1"
        # Imported here, so that the supervisor can create this object without importing torch.
        import diffusers  # noqa: PLC0415
        import torch  # noqa: PLC0415

        from inference_worker.engines.transformers import loading  # noqa: PLC0415

        device = loading.prepare_torch(options, asked_device=context.asked_device)
        if options.dtype == "auto":
            # Half precision overflows in some decoders, and CPUs have none.
            dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
        else:
            dtype = getattr(torch, options.dtype)
        pipeline = getattr(diffusers, _CLASSES[self._task]).from_pretrained(
            self._model,
            dtype=dtype,
            revision=options.revision,
            local_files_only=options.local_files_only,
            # Other files are pickles, which run code.
            use_safetensors=None if options.trust_remote_code else True,
        )
        pipeline.set_progress_bar_config(disable=True)
        return pipeline.to(device)

    def _run(self, job: Job, report: Callable[[Event], None], cancelled: threading.Event) -> None:
        """Run it in this thread.  Never raises, because its future is not awaited."""
        if cancelled.is_set():
            return
        most = self._options.max_pixels
        media = Media(most_pixels=most) if most else Media()
        try:
            call = self._pipeline.__call__
            painting = read_painting(
                self._task, job, media, call, most_pixels=most or MOST_PIXELS_MADE
            )
        except (BadInput, ValidationError, ValueError, TypeError, RecursionError) as error:
            sentence = str(error) if isinstance(error, BadInput) else last_line(error)
            report(Failed(BAD_INPUT, sentence, retryable=False))
            return
        finally:
            media.close()
        report(Started())
        try:
            report(_finished(self._paint(painting, report, cancelled)))
        except Cancelled:
            report(Failed("Cancelled", "the job was cancelled"))
        except BaseException as error:
            report(failure_of(error))

    def _paint(
        self, painting: Painting, report: Callable[[Event], None], cancelled: threading.Event
    ) -> list[Any]:
        import torch  # noqa: PLC0415 - an extra

        def step(pipeline: Any, number: int, time: Any, found: dict[str, Any]) -> dict[str, Any]:
            if cancelled.is_set():
                raise Cancelled
            steps = max(1, int(pipeline.num_timesteps))
            report(Progress(min(1.0, (number + 1) / steps), f"step {number + 1} of {steps}"))
            return found

        more: dict[str, Any] = {}
        if painting.seed is not None:
            more["generator"] = torch.Generator(device="cpu").manual_seed(painting.seed)
        made = self._pipeline(**painting.arguments, **more, callback_on_step_end=step)
        return list(made.images)


def _finished(pictures: list[Any]) -> Finished:
    if len(pictures) == 1:
        return Finished(_png(pictures[0]), content_type="image/png")
    urls = [encode(_png(one), "picture.png") for one in pictures]
    return Finished(json.dumps(urls).encode())


def _png(picture: Any) -> bytes:
    written = io.BytesIO()
    picture.save(written, "PNG")
    return written.getvalue()
