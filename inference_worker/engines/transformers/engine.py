"""The engine `transformers:MODEL`: generates many answers together, token by token.

    job -> request -> prompt ids -> sequences ──> loop (schedule, run, postprocess)
    Started, Delta, ..., Usage, Finished     <── updates, once per step

A job is parsed and checked before it reaches the model, so an invalid job fails alone.  Closing its
iterator removes its sequences before the next step.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from inference_worker.engines.engine import (
    BAD_INPUT,
    Context,
    Delta,
    Engine,
    EngineState,
    Event,
    Failed,
    Finished,
    Health,
    Job,
    Started,
)
from inference_worker.engines.failures import BadInput, failure_of
from inference_worker.engines.locate import last_line
from inference_worker.engines.openai_requests import refuse_vectors
from inference_worker.engines.transformers.loop import GenerationLoop, Runner, Update
from inference_worker.engines.transformers.options import GenerationOptions
from inference_worker.engines.transformers.reply import reply, usage_of
from inference_worker.engines.transformers.request import (
    Defaults,
    GenerationRequest,
    read_generation,
)
from inference_worker.engines.transformers.scheduler import Limits
from inference_worker.engines.transformers.sequence import Sequence
from inference_worker.engines.transformers.tokenizer import ModelTokenizer
from inference_worker.errors import EngineFailed

#: How many answers are generated at once by default.
DEFAULT_BATCH = 16

log = logging.getLogger(__name__)


class TransformersEngine(Engine):
    """Runs `transformers:MODEL`; MODEL is a folder or a name on the hub."""

    def __init__(
        self, model: str, options: GenerationOptions, *, capacity: int | None = None
    ) -> None:
        batch = options.max_batch or capacity or DEFAULT_BATCH
        super().__init__(f"transformers:{model}", capacity=capacity or batch)
        self._model_name = model
        self._options = options
        self._batch = batch
        self._listeners: dict[Sequence, asyncio.Queue[Update]] = {}
        # One thread, because a tokenizer is not thread-safe.
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="prompts")

    async def start(self, context: Context) -> None:
        """Load the model and choose the runner."""
        loop = asyncio.get_running_loop()
        try:
            loaded = await loop.run_in_executor(self._reader, self._load, context)
        except Exception as error:
            log.debug("The traceback of the loading:", exc_info=True)
            raise EngineFailed(self.name, last_line(error)) from error
        self._tokenizer, self._defaults, self._end_ids, self._limits, runner = loaded
        self._refuses = runner.refuses
        self._generation = GenerationLoop(
            runner,
            self._limits,
            deliver=lambda updates: _call(loop, self._dispatch, updates),
        )
        self._generation.start()
        log.info(
            "%s: runner %s, %d answers at once, %d tokens of cache of %d bytes, context %d.",
            self.name,
            runner.name,
            self._limits.sequences,
            self._limits.tokens,
            runner.bytes_per_token,
            self._context,
        )

    async def run(self, job: Job) -> AsyncGenerator[Event, None]:
        """Generate the answer to one job."""
        loop = asyncio.get_running_loop()
        try:
            request, choices = await loop.run_in_executor(self._reader, self._read, job)
        except BadInput as error:
            yield Failed(BAD_INPUT, str(error), retryable=False)
            return
        except BaseException as error:
            # A panic in the Rust tokenizer is a BaseException, and the job needs an answer.
            if isinstance(error, asyncio.CancelledError | GeneratorExit):
                raise
            yield failure_of(error)
            return
        updates: asyncio.Queue[Update] = asyncio.Queue()
        for choice in choices:
            self._listeners[choice] = updates
        self._generation.begin(choices)
        try:
            async for event in _events(updates, choices, stream=request.stream):
                yield event
        finally:
            unfinished = [c for c in choices if self._listeners.pop(c, None) is not None]
            if unfinished:
                self._generation.cancel(unfinished)
        if failed := next((choice.failed for choice in choices if choice.failed), None):
            yield failed
            return
        yield usage_of(choices)
        output = reply(request, choices, text_of=self._tokenizer.text_of)
        yield Finished(output, reason=str(choices[0].finish_reason))

    async def health(self) -> Health:
        """Return how many sequences generate and wait, and whether steps succeed."""
        load = self._generation.load
        details = {
            "generating": float(load.generating),
            "waiting": float(load.waiting),
            "max_generating": float(self._limits.sequences),
            "cache_tokens": float(load.reserved_tokens),
            "max_cache_tokens": float(self._limits.tokens),
            "generated_tokens": float(load.tokens),
            "steps": float(load.steps),
        }
        if self._generation.is_dead:
            return Health(EngineState.DEAD, "several steps in a row have failed", details)
        return Health(EngineState.OK, details=details)

    async def stop(self, grace_s: float) -> None:
        """End the loop and free the model."""
        if hasattr(self, "_generation"):
            await asyncio.to_thread(self._generation.stop, grace_s)
        self._reader.shutdown(wait=False, cancel_futures=True)

    def _load(
        self, context: Context
    ) -> tuple[ModelTokenizer, Defaults, frozenset[int], Limits, Runner]:
        # Imported here, in a thread: it takes seconds, and the supervisor, which creates this
        # object only to check its name, must not import torch.
        from inference_worker.engines.transformers import loading  # noqa: PLC0415

        loaded = loading.load(self._model_name, self._options, context)
        self._context = loaded.context
        runner, limits = loading.make_runner(loaded, self._options, sequences=self._batch)
        context.progress(1.0, "ready")
        return loaded.tokenizer, loaded.defaults, loaded.end_ids, limits, runner

    def _read(self, job: Job) -> tuple[GenerationRequest, list[Sequence]]:
        """Return the job's sequences; raises BadInput for an invalid request."""
        refuse_vectors(job.path)
        request = read_generation(job.data, job.content_type)
        prompt = self._tokenizer.encode(request)
        most = min(self._context, self._limits.tokens)
        if len(prompt) >= most:
            # In OpenAI's words, because clients look for them.
            raise BadInput(
                f"This model's maximum context length is {most} tokens. However, your messages "
                f"resulted in {len(prompt)} tokens. Please reduce the length of the messages."
            )
        sampling = request.sampling(
            self._defaults, most_tokens=most - len(prompt), end_ids=self._end_ids
        )
        if refused := self._refuses(sampling):
            raise BadInput(
                f"{refused} is not supported by the paged runner of this worker; it needs the "
                "engine option `runner`: `own`"
            )
        choices = [
            Sequence(prompt, sampling, self._tokenizer.decode, choice)
            for choice in range(request.n)
        ]
        return request, choices

    def _dispatch(self, updates: list[Update]) -> None:
        for update in updates:
            # A cancelled sequence has no listener any more.
            queue = self._listeners.get(update.sequence)
            if queue is None:
                continue
            if update.is_last:
                self._listeners.pop(update.sequence)
            queue.put_nowait(update)


async def _events(
    updates: "asyncio.Queue[Update]", choices: list[Sequence], *, stream: bool
) -> AsyncGenerator[Event, None]:
    """Yield Started and the pieces of the first choice, until all choices have ended."""
    missing = len(choices)
    started = False
    while missing:
        arrived = [await updates.get()]
        while not updates.empty():
            arrived.append(updates.get_nowait())
        if not started:
            started = True
            yield Started()
        missing -= sum(update.is_last for update in arrived)
        ours = [update for update in arrived if update.sequence is choices[0]]
        piece = "".join(update.piece for update in ours)
        if piece and stream:
            yield Delta(piece.encode(), sum(update.tokens for update in ours))


def _call(loop: asyncio.AbstractEventLoop, function: Any, *arguments: object) -> None:
    # The event loop may already be closed after the last step; then the call is dropped.
    if not loop.is_closed():
        loop.call_soon_threadsafe(function, *arguments)
