"""Parses and checks a request to a language model.

Plain text is the prompt; all parameters are the defaults of the model's `generation_config.json`.
JSON (a body that begins with `{`, or has the content type of JSON) is an object with either
`prompt` or `messages`, and the optional parameters of `GenerationRequest`.  They have the names of
OpenAI's API if they exist there.
"""

import json
import re
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from inference_worker.engines.failures import BadInput
from inference_worker.engines.transformers.neutral import without_neutral
from inference_worker.engines.transformers.sequence import Sampling

#: The most answers to one prompt.
MOST_CHOICES = 64

#: The most tokens with a bias, as vLLM and OpenAI's API have it.
MOST_BIASES = 1024

#: The most stop strings, and the longest one: text that may become a stop string is held back.
MOST_STOPS, LONGEST_STOP = 16, 256

_ID = re.compile(r"[0-9]{1,9}", re.ASCII)

#: The JSON escape of a surrogate.
_HALF_CHARACTER = re.compile(r"\\u[dD][89a-fA-F]")

Number = Annotated[float, Field(allow_inf_nan=False)]


class Message(BaseModel):
    """One message of a conversation; other fields are for the model's chat template."""

    model_config = ConfigDict(extra="allow", strict=True)

    role: str = Field(min_length=1)
    content: str | list[dict[str, Any]] | None = None


class PlainText(BaseModel):
    """The only supported response format."""

    model_config = ConfigDict(extra="forbid", strict=True)

    type: Literal["text"]


class GenerationRequest(BaseModel):
    """The body of a job."""

    model_config = ConfigDict(extra="forbid", strict=True)

    prompt: str | list[int] | None = Field(default=None, description="Text, or token ids.")
    messages: list[Message] | None = Field(
        default=None, min_length=1, description="A conversation, for the model's chat template."
    )
    tools: list[dict[str, Any]] | None = Field(
        default=None, description="Passed to the chat template."
    )
    chat_template_kwargs: dict[str, Any] = Field(
        default_factory=dict, description="Passed to the chat template."
    )
    max_tokens: int | None = Field(default=None, ge=1, description="The most tokens of one answer.")
    max_new_tokens: int | None = Field(default=None, ge=1, description="The same.")
    max_completion_tokens: int | None = Field(default=None, ge=1, description="The same.")
    temperature: Annotated[Number, Field(ge=0, le=100)] | None = Field(
        default=None, description="0 always picks the likeliest token."
    )
    top_p: Annotated[Number, Field(gt=0, le=1)] | None = None
    top_k: int | None = Field(default=None, ge=-1, description="0 and -1 are off.")
    min_p: Annotated[Number, Field(ge=0, le=1)] | None = None
    repetition_penalty: Annotated[Number, Field(gt=0, le=100)] | None = None
    frequency_penalty: Annotated[Number, Field(ge=-100, le=100)] = 0.0
    presence_penalty: Annotated[Number, Field(ge=-100, le=100)] = 0.0
    seed: int | None = Field(
        default=None, ge=0, lt=2**62, description="The same seed gives the same answer."
    )
    stop: str | list[str] | None = Field(
        default=None, description="Strings that end the answer; they are not part of it."
    )
    include_stop_str_in_output: bool = Field(
        default=False, description="The answer ends with the stop string."
    )
    stop_token_ids: list[int] = Field(default_factory=list)
    min_tokens: int = Field(
        default=0, ge=0, description="The answer has no end token before it has this many tokens."
    )
    logit_bias: dict[str, Annotated[Number, Field(ge=-100, le=100)]] = Field(
        default_factory=dict, max_length=MOST_BIASES, description="Added to scores, by token id."
    )
    allowed_token_ids: list[int] | None = Field(
        default=None, min_length=1, description="The answer has no other tokens."
    )
    ignore_eos: bool = Field(default=False, description="Continue after the model's end token.")
    logprobs: bool | int | None = Field(
        default=None, description="Return log probabilities; a number means `top_logprobs`."
    )
    top_logprobs: int | None = Field(
        default=None, ge=0, le=20, description="Also return this many likeliest tokens per step."
    )
    tool_choice: Literal["auto", "none"] = Field(
        default="auto", description="`none` leaves `tools` out."
    )
    n: int = Field(default=1, ge=1, le=MOST_CHOICES, description="Answers to one prompt.")
    return_token_ids: bool = Field(default=False, description="Also return the token ids.")
    stream: bool = Field(default=True, description="Stream the text in pieces.")

    # Accepted for OpenAI's clients; without effect here.
    model: str | None = None
    user: str | None = None
    metadata: dict[str, Any] | None = None
    stream_options: dict[str, Any] | None = None
    store: bool | None = None
    service_tier: str | None = None
    parallel_tool_calls: bool | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    response_format: PlainText | None = Field(
        default=None, description="Only plain text is supported."
    )

    @model_validator(mode="after")
    def _one_prompt(self) -> Self:
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("expected either prompt or messages")
        if self.prompt is not None and not self.prompt:
            raise ValueError("the prompt is empty")
        return self

    @model_validator(mode="after")
    def _stops_are_bounded(self) -> Self:
        stops = self.stop_strings
        if len(stops) > MOST_STOPS or any(len(stop) > LONGEST_STOP for stop in stops):
            raise ValueError(
                f"expected at most {MOST_STOPS} stop strings of at most {LONGEST_STOP} characters"
            )
        if not all(stops):
            raise ValueError("a stop string is empty")
        return self

    @model_validator(mode="after")
    def _biases_have_ids(self) -> Self:
        if wrong := [name for name in self.logit_bias if not _ID.fullmatch(name)]:
            raise ValueError(f"logit_bias: expected token ids as names, got {wrong[0]!r:.80}")
        return self

    @property
    def biases(self) -> tuple[tuple[int, float], ...]:
        """The token ids with a bias, and the bias of each."""
        return tuple((int(name), value) for name, value in self.logit_bias.items())

    @property
    def stop_strings(self) -> tuple[str, ...]:
        """The stop strings as a tuple."""
        if self.stop is None:
            return ()
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)

    @property
    def most_tokens(self) -> int | None:
        """The most tokens of an answer, from any of the three parameters."""
        return self.max_new_tokens or self.max_completion_tokens or self.max_tokens

    @property
    def wanted_logprobs(self) -> int | None:
        """None for no log probabilities, else the number of likeliest tokens per step."""
        if self.logprobs is None or self.logprobs is False:
            return None
        if self.logprobs is True:
            return self.top_logprobs or 0
        return min(max(self.logprobs, 0), 20)

    def sampling(
        self, defaults: "Defaults", *, most_tokens: int, end_ids: frozenset[int]
    ) -> Sampling:
        """Return the sampling of this request, with defaults; at most `most_tokens`."""
        top_k = defaults.top_k if self.top_k is None else max(self.top_k, 0)
        stop_ids = frozenset(self.stop_token_ids)
        stop_ids = stop_ids if self.ignore_eos else stop_ids | end_ids
        allowed = None if self.allowed_token_ids is None else frozenset(self.allowed_token_ids)
        if self.min_tokens and allowed is not None and allowed <= stop_ids:
            raise BadInput("min_tokens: allowed_token_ids has only tokens that end the answer")
        return Sampling(
            max_new_tokens=min(self.most_tokens or defaults.max_new_tokens, most_tokens),
            temperature=_first(self.temperature, defaults.temperature),
            top_p=_first(self.top_p, defaults.top_p),
            top_k=top_k,
            min_p=_first(self.min_p, defaults.min_p),
            repetition_penalty=_first(self.repetition_penalty, defaults.repetition_penalty),
            frequency_penalty=self.frequency_penalty,
            presence_penalty=self.presence_penalty,
            seed=self.seed,
            stop_ids=stop_ids,
            stop=self.stop_strings,
            includes_stop=self.include_stop_str_in_output,
            min_tokens=self.min_tokens,
            biases=self.biases,
            allowed_ids=allowed,
            logprobs=self.wanted_logprobs,
        )


class Defaults(BaseModel):
    """The parameters of a request that sets none: those of `model.generate`."""

    model_config = ConfigDict(frozen=True)

    max_new_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0

    @property
    def usual(self) -> Sampling:
        """The sampling of a request without parameters."""
        return Sampling(**self.model_dump())


def read_request(
    data: bytes, content_type: str = "", *, kind: Literal["prompt", "input", "inputs"] = "prompt"
) -> dict[str, Any]:
    """Return the body as an object; plain text becomes its only field.  Raises BadInput."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"expected UTF-8 text, got another byte at {error.start}") from None
    kind_of_content = content_type.partition(";")[0].strip().lower()
    is_json = kind_of_content == "application/json"
    if not is_json and (kind_of_content == "text/plain" or not text.lstrip().startswith("{")):
        return {kind: text}
    try:
        body = json.loads(text)
        if _HALF_CHARACTER.search(text):
            # JSON can contain unpaired surrogates, but tokenizers cannot encode them.
            json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise BadInput("expected text, got one half of a surrogate pair") from None
    except (ValueError, RecursionError) as error:
        raise BadInput(f"expected JSON: {error}") from None
    if not isinstance(body, dict):
        raise BadInput(f"expected a JSON object, got {type(body).__name__}")
    return body


def read_generation(data: bytes, content_type: str = "") -> GenerationRequest:
    """Parse the body of a job; raises BadInput."""
    body = read_request(data, content_type)
    try:
        return GenerationRequest.model_validate(without_neutral(body))
    except ValidationError as error:
        raise BadInput(first_mistake(error)) from None


def first_mistake(error: ValidationError) -> str:
    """Return the first error in one line, with the name of the field first."""
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    what = first["msg"].removeprefix("Value error, ")
    return f"{where}: {what}" if where else what


def _first(value: float | None, default: float) -> float:
    return default if value is None else value
