"""Engines' results in OpenAI's format: whole, in chunks, as errors.

An engine's result is one of three: an object in OpenAI's format, from another OpenAI server, which
passes through unchanged; the object of our own language engine, `{"text", "finish_reason", "usage",
"choices"?, "logprobs"?}`; or anything else, which is the text.
"""

import base64
import json
import struct
from typing import Any

from queue_service.web.openai.asked import Asked, Kind
from queue_service.web.strict_json import dumps

Json = dict[str, Any]

#: What ends a stream of events.
DONE = b"data: [DONE]\n\n"
_CHAT_OBJECT = "chat.completion"
_TEXT_OBJECT = "text_completion"


def whole(asked: Asked, request_id: str, created_s: int, output: bytes) -> Json:
    """Return the response to a request without a stream.

    Raises ValueError for an invalid result: embeddings without numbers.
    """
    made = _read(output)
    if asked.kind is Kind.EMBEDDINGS:
        try:
            return _embeddings(asked, made)
        except (struct.error, TypeError, KeyError, OverflowError) as error:
            raise ValueError(f"expected embeddings from the engine, got others: {error}") from None
    if made.get("object") in (_CHAT_OBJECT, _TEXT_OBJECT):
        return {**made, "model": asked.model}
    choices = [_choice(asked, index, choice) for index, choice in enumerate(_choices(made))]
    body = _head(asked, request_id, created_s) | {"choices": choices}
    if "usage" in made:
        body["usage"] = made["usage"]
    return body


class Diverged(Exception):
    """A further attempt makes a text other than the one that the client has begun to read."""

    def __init__(self) -> None:
        super().__init__(
            "the worker failed and the retry gave a different answer; send the request again"
        )


class Chunks:
    """The chunks of one streamed response, in their order."""

    def __init__(self, asked: Asked, request_id: str, created_s: int) -> None:
        self._asked = asked
        self._head = _head(asked, request_id, created_s)
        if asked.kind is Kind.CHAT:
            self._head["object"] = "chat.completion.chunk"
        self._begun = False
        self._sent = ""
        self._now = ""
        self._attempt = 0

    def piece(self, text: str, attempt: int) -> bytes:
        """Return a piece of the first choice's text, without what was sent already.

        Each attempt begins the text again, and what a client has read cannot be taken back: raises
        Diverged when this attempt's text differs from that.
        """
        if attempt != self._attempt:
            self._attempt, self._now = attempt, ""
        self._now += text
        if not self._now.startswith(self._sent):
            if self._sent.startswith(self._now):
                return b""
            raise Diverged
        new, self._sent = self._now[len(self._sent) :], self._now
        return self._event([self._delta(0, new)]) if new else b""

    def end(self, output: bytes, usage: Json | None = None) -> bytes:
        """Return the last chunks: the rest of the text, the other choices, the finish reasons, and
        the usage if the client asked for it.

        usage: what the engine reported while it ran, for a result without it.
        """
        made = _read(output)
        choices = _choices(made)
        events = b""
        for index, choice in enumerate(choices):
            text = _text_of(choice)
            if index == 0 and text.startswith(self._sent):
                text = text[len(self._sent) :]
            elif index == 0 and self._sent:
                # The pieces that were sent are not a part of the result; the pieces count.
                text = ""
            if text:
                events += self._event([self._delta(index, text)])
        events += self._event(
            [
                self._delta(index, None, choice.get("finish_reason") or "stop")
                for index, choice in enumerate(choices)
            ]
        )
        if self._asked.include_usage:
            counts = made.get("usage") or usage_of(usage or {})
            events += _data({**self._head, "choices": [], "usage": counts})
        return events + DONE

    def _event(self, choices: list[Json]) -> bytes:
        return _data({**self._head, "choices": choices})

    def _delta(self, index: int, text: str | None, finish_reason: str | None = None) -> Json:
        if self._asked.kind is Kind.TEXT:
            return {
                "index": index,
                "text": text or "",
                "logprobs": None,
                "finish_reason": finish_reason,
            }
        delta: Json = {}
        if text is not None:
            delta["content"] = text
            if index or not self._begun:
                delta["role"] = "assistant"
                self._begun = self._begun or index == 0
        return {"index": index, "delta": delta, "finish_reason": finish_reason}


def usage_of(reported: Json) -> Json:
    """Return the usage in OpenAI's format, from what an engine reported."""
    prompt, completion = (
        count if isinstance(count := reported.get(name), int) else 0
        for name in ("prompt_tokens", "completion_tokens")
    )
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }


def error_body(
    status: int, code: str, sentence: str, parameter: str | None = None, failure: str = ""
) -> Json:
    """Return an error in OpenAI's format.

    failure: the type of a job's failure, from `client_sdk.wire.failures`.  OpenAI's own `type`
    follows from the status.
    """
    kind = {
        400: "invalid_request_error",
        401: "authentication_error",
        403: "permission_error",
        404: "invalid_request_error",
        413: "invalid_request_error",
        429: "rate_limit_error",
    }.get(status, "server_error")
    error: Json = {"message": sentence, "type": kind, "param": parameter, "code": code}
    return {"error": {**error, "failure_type": failure} if failure else error}


def error_event(status: int, code: str, sentence: str, failure: str = "") -> bytes:
    """Return an error as the last event of a stream."""
    return _data(error_body(status, code, sentence, failure=failure)) + DONE


def comment(text: str) -> bytes:
    """Return a line that clients ignore, and people can read."""
    return f": {text}\n\n".encode()


def models(names: list[str], created_s: int) -> Json:
    """Return the list of models: the services that a token may use."""
    return {"object": "list", "data": [model(name, created_s) for name in names]}


def model(name: str, created_s: int) -> Json:
    """Return one model."""
    return {"id": name, "object": "model", "created": created_s, "owned_by": "penstock"}


def _head(asked: Asked, request_id: str, created_s: int) -> Json:
    chat = asked.kind is Kind.CHAT
    return {
        "id": f"{'chatcmpl' if chat else 'cmpl'}-{request_id}",
        "object": _CHAT_OBJECT if chat else _TEXT_OBJECT,
        "created": created_s,
        "model": asked.model,
    }


def _data(body: Json) -> bytes:
    return f"data: {dumps(body, ensure_ascii=False)}\n\n".encode("utf-8", "replace")


def _read(output: bytes) -> Json:
    try:
        made = json.loads(output)
    except (ValueError, RecursionError):
        made = None
    if isinstance(made, dict) and ("text" in made or "object" in made or "choices" in made):
        return made
    if isinstance(made, str):
        return {"text": made}
    return {"text": output.decode("utf-8", "replace")}


def _choices(made: Json) -> list[Json]:
    choices = made.get("choices")
    listed = choices if isinstance(choices, list) else []
    return [choice for choice in listed if isinstance(choice, dict)] or [made]


def _text_of(choice: Json) -> str:
    message = choice.get("message")
    if isinstance(message, dict):
        return str(message.get("content") or "")
    return str(choice.get("text") or "")


def _choice(asked: Asked, index: int, choice: Json) -> Json:
    text, reason = _text_of(choice), choice.get("finish_reason") or "stop"
    common = {"index": index, "logprobs": choice.get("logprobs"), "finish_reason": reason}
    if asked.kind is Kind.TEXT:
        return {**common, "text": text}
    return {**common, "message": {"role": "assistant", "content": text, "refusal": None}}


def _embeddings(asked: Asked, made: Json) -> Json:
    vectors = made.get("data")
    if not isinstance(vectors, list):
        raise ValueError(
            f"{asked.service} makes no embeddings: expected from its engine, as from "
            '`embeddings:MODEL`, {"object": "list", "data": [{"embedding": [...]}]}'
        )
    body = {**made, "model": asked.model}
    if asked.base64:
        body["data"] = [{**item, "embedding": _as_base64(item["embedding"])} for item in vectors]
    return body


def _as_base64(numbers: list[float] | str) -> str:
    if isinstance(numbers, str):
        return numbers
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()
