"""The engine `echo`: returns the input, with delays and failures on request.

For a chat or a completion of the OpenAI API it returns the question, not the whole request.
"""

import asyncio
import random
import re
from collections.abc import AsyncGenerator
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from inference_worker.engines.engine import (
    Context,
    Delta,
    Engine,
    Event,
    Failed,
    Finished,
    Job,
    Started,
    Usage,
)
from inference_worker.engines.openai_requests import Question, question_of

#: Seconds between the words of a chat, so that streaming is visible, and the most seconds for all.
_WORD_S, _WORDS_S = 0.05, 2.0

Seconds = Annotated[float, Field(ge=0, le=86_400)]


class EchoOptions(BaseModel):
    """The delays and failures of an echo; by default there are none."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    delay_s: Seconds | tuple[Seconds, Seconds] = Field(
        default=0.0, description="Seconds one job takes, or [least, most] to draw from evenly."
    )
    answer: str | None = Field(
        default=None,
        description="The output of every job, as text; by default its input. Empty: none.",
    )
    stream: bool = Field(default=False, description="Give the output in pieces before the whole.")
    piece_bytes: int = Field(default=16, ge=1, description="Bytes of one such piece.")
    piece_delay_s: Seconds = Field(default=0.0, description="Seconds before each such piece.")
    fail_every: int = Field(default=0, ge=0, description="Every n-th job fails; 0 is none.")
    fail_first_attempts: int = Field(
        default=0, ge=0, description="The first n attempts of each job fail; 0 is none."
    )
    fail_code: str = Field(
        default="EchoFailed", min_length=1, description="The code of those failures."
    )
    fail_retryable: bool = Field(
        default=True, description="Whether those failures are worth a retry."
    )

    @model_validator(mode="before")
    @classmethod
    def _range_is_in_order(cls, values: dict[str, object]) -> dict[str, object]:
        delay_s = values.get("delay_s")
        if isinstance(delay_s, list | tuple) and list(delay_s) != sorted(delay_s):
            raise ValueError("delay_s is [least, most], in this order")
        return values


class EchoEngine(Engine):
    """Returns the input."""

    takes_forms = True

    def __init__(self, options: EchoOptions, *, capacity: int) -> None:
        super().__init__("echo", capacity=capacity)
        self._options = options
        self._answer = None if options.answer is None else options.answer.encode()
        self._at_once = options.delay_s in (0.0, (0.0, 0.0)) and not options.stream
        self._runs = 0
        self._random = random.Random()

    async def start(self, context: Context) -> None:
        """Do nothing: there is no model."""

    def takes_path(self, job: Job) -> bool:
        """Return the file as it is, unless its content is looked at."""
        return not job.path and not self._options.stream

    async def run(self, job: Job) -> AsyncGenerator[Event, None]:
        """Wait for the delay, then answer or fail."""
        yield Started()
        await asyncio.sleep(self._delay_s())
        question = question_of(job)
        end = self._end(job, question)
        if isinstance(end, Finished) and question is not None and question.streamed:
            words = re.findall(r"\s*\S+\s*$|\s*\S+|\s+$", end.output.decode("utf-8", "replace"))
            for number, word in enumerate(words):
                if number:
                    await asyncio.sleep(min(_WORD_S, _WORDS_S / len(words)))
                yield Delta(word.encode("utf-8", "replace"), tokens=1)
        elif self._options.stream and isinstance(end, Finished):
            for start in range(0, len(end.output), self._options.piece_bytes):
                if self._options.piece_delay_s:
                    await asyncio.sleep(self._options.piece_delay_s)
                yield Delta(end.output[start : start + self._options.piece_bytes], tokens=1)
            yield Usage(prompt_tokens=len(job.data), completion_tokens=len(end.output))
        yield end

    def run_now(self, job: Job) -> Finished | Failed | None:
        """Answer at once, unless the options or the request need time."""
        if not self._at_once:
            return None
        question = question_of(job)
        return None if question and question.streamed else self._end(job, question)

    async def stop(self, grace_s: float) -> None:
        """Do nothing: there is nothing to free."""

    def _end(self, job: Job, question: Question | None) -> Finished | Failed:
        self._runs += 1
        options = self._options
        if job.attempt <= options.fail_first_attempts:
            return self._failed(f"attempt {job.attempt} of {options.fail_first_attempts} to fail")
        if options.fail_every and self._runs % options.fail_every == 0:
            return self._failed(f"every job that is a multiple of {options.fail_every} fails")
        if self._answer is not None:
            return Finished(self._answer)
        if job.payload_path:
            return Finished(b"", path=job.payload_path)
        # `replace`: JSON can contain unpaired surrogates, which UTF-8 cannot encode.
        return Finished(question.text.encode("utf-8", "replace") if question else job.data)

    def _failed(self, message: str) -> Failed:
        return Failed(self._options.fail_code, message, retryable=self._options.fail_retryable)

    def _delay_s(self) -> float:
        delay_s = self._options.delay_s
        return self._random.uniform(*delay_s) if isinstance(delay_s, tuple) else delay_s
