"""The engine `embeddings:MODEL`: vectors of texts by mean pooling, many jobs in one batch.

A job is plain text, or JSON with `input`, a text or a list of texts, as in OpenAI's API.  The
result has the format of that API: {"data": [{"index", "embedding"}], "usage": {...}}.
"""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from client_sdk.cancellation import notice_cancellation
from inference_worker.engines.engine import (
    BAD_INPUT,
    Context,
    Engine,
    Event,
    Failed,
    Finished,
    Job,
    Started,
    Usage,
)
from inference_worker.engines.failures import BadInput, failure_of
from inference_worker.engines.locate import last_line
from inference_worker.engines.openai_requests import refuse_text
from inference_worker.engines.transformers.batching import BatchThread
from inference_worker.engines.transformers.options import EmbeddingOptions
from inference_worker.engines.transformers.request import first_mistake, read_request
from inference_worker.errors import EngineFailed

#: Most texts of one job.
MOST_TEXTS = 2048

log = logging.getLogger(__name__)

Vector = list[float]


class EmbeddingRequest(BaseModel):
    """The body of a job."""

    model_config = ConfigDict(extra="forbid", strict=True)

    input: str | list[str] = Field(min_length=1, max_length=10_000_000)
    encoding_format: Literal["float"] = "float"
    model: str | None = None
    user: str | None = None

    @property
    def texts(self) -> list[str]:
        """The texts as a list."""
        return [self.input] if isinstance(self.input, str) else self.input


@dataclass(frozen=True, slots=True)
class _Loaded:
    tokenizer: Any
    model: Any
    context: int


class EmbeddingsEngine(Engine):
    """Runs `embeddings:MODEL`; MODEL is a folder or a name on the hub."""

    def __init__(
        self, model: str, options: EmbeddingOptions, *, capacity: int | None = None
    ) -> None:
        super().__init__(f"embeddings:{model}", capacity=capacity or options.max_batch)
        self._model_name = model
        self._options = options
        self._loaded: _Loaded | None = None
        self._batches: BatchThread[list[int], Vector] | None = None

    async def start(self, context: Context) -> None:
        """Load the model."""
        try:
            self._loaded = await asyncio.to_thread(self._load, context)
        except Exception as error:
            log.debug("The traceback of the loading:", exc_info=True)
            raise EngineFailed(self.name, last_line(error)) from error
        self._batches = BatchThread(self._compute, most=self._options.max_batch)

    async def run(self, job: Job) -> AsyncGenerator[Event, None]:
        """Compute the vectors of one job."""
        assert self._batches is not None, "run before start"
        batches = self._batches
        try:
            texts = self._read(job)
        except BadInput as error:
            yield Failed(BAD_INPUT, str(error), retryable=False)
            return
        yield Started()
        failed: Failed | None = None
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(batches.result(ids)) for ids in texts]
        except* Exception as errors:
            failed = failure_of(errors.exceptions[0])
        if failed is not None:
            notice_cancellation()
            yield failed
            return
        tokens = sum(map(len, texts))
        yield Usage(prompt_tokens=tokens)
        yield Finished(_reply([task.result() for task in tasks], tokens))

    async def stop(self, grace_s: float) -> None:
        """End the thread."""
        if self._batches is not None:
            self._batches.stop()

    def _load(self, context: Context) -> _Loaded:
        # Imported here, so that the supervisor can create this object without importing torch.
        from transformers import AutoModel, AutoTokenizer  # noqa: PLC0415

        from inference_worker.engines.transformers import loading  # noqa: PLC0415

        device = loading.prepare_torch(self._options, asked_device=context.asked_device)
        source = loading.source(self._options)
        tokenizer = AutoTokenizer.from_pretrained(self._model_name, **source)
        model = loading.load_model(AutoModel, self._model_name, self._options, device)
        known = getattr(model.config, "max_position_embeddings", loading.DEFAULT_CONTEXT)
        return _Loaded(tokenizer, model, min(known, tokenizer.model_max_length))

    def _read(self, job: Job) -> list[list[int]]:
        """Return the tokens of each text; raises BadInput."""
        assert self._loaded is not None, "run before start"
        refuse_text(job.path)
        try:
            body = read_request(job.data, job.content_type, kind="input")
            request = EmbeddingRequest.model_validate(body)
        except ValidationError as error:
            raise BadInput(first_mistake(error)) from None
        if len(request.texts) > MOST_TEXTS:
            raise BadInput(f"input: expected at most {MOST_TEXTS} texts, got {len(request.texts)}")
        return [self._tokens(index, text) for index, text in enumerate(request.texts)]

    def _tokens(self, index: int, text: str) -> list[int]:
        assert self._loaded is not None
        context = self._loaded.context
        ids: list[int] = self._loaded.tokenizer(
            text, truncation=self._options.truncate, max_length=context, verbose=False
        )["input_ids"]
        if not ids:
            raise BadInput(f"input.{index}: it has no tokens")
        if len(ids) > context:
            raise BadInput(f"input.{index}: expected at most {context} tokens, got {len(ids)}")
        return ids

    def _compute(self, texts: list[list[int]]) -> list[Vector | Exception]:
        import torch  # noqa: PLC0415

        assert self._loaded is not None
        model, longest = self._loaded.model, max(map(len, texts))
        ids = torch.tensor([text + [0] * (longest - len(text)) for text in texts])
        mask = torch.tensor([[1] * len(text) + [0] * (longest - len(text)) for text in texts])
        ids, mask = ids.to(model.device), mask.to(model.device)
        with torch.inference_mode():
            hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state.float()
            weights = mask.unsqueeze(-1)
            # Masked and not multiplied by 0: padding may be NaN or infinite, and 0 * NaN is NaN.
            vectors = hidden.masked_fill(weights == 0, 0.0).sum(1) / weights.sum(1)
            if self._options.normalise:
                vectors = torch.nn.functional.normalize(vectors, dim=-1)
            sound = vectors.isfinite().all(-1).tolist()
        no_number = BadInput("the model's vector for this text has NaN or infinity")
        return [
            vector if good else no_number
            for vector, good in zip(vectors.tolist(), sound, strict=True)
        ]


def _reply(vectors: list[Vector], tokens: int) -> bytes:
    data = [
        {"object": "embedding", "index": index, "embedding": vector}
        for index, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return json.dumps({"object": "list", "data": data, "usage": usage}).encode()
