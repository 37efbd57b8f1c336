"""Engines' results in OpenAI's format, whole and as errors.

An object in OpenAI's format, from another OpenAI server, passes through unchanged.
"""

import base64
import struct
from typing import Any

from queue_service.web.openai.asked import Asked, Kind
from queue_service.web.openai.results import read_result, text_of
from queue_service.web.strict_json import dumps, read_object

Json = dict[str, Any]

#: What ends a stream of events.
DONE = b"data: [DONE]\n\n"
_CHAT_OBJECT = "chat.completion"
_TEXT_OBJECT = "text_completion"


def whole(asked: Asked, request_id: str, created_s: int, output: bytes) -> Json:
    """Return the response to a request without a stream.

    Raises ValueError for an invalid result: embeddings without numbers.
    """
    if asked.kind is Kind.EMBEDDINGS:
        try:
            return _embeddings(asked, read_object(output))
        except (struct.error, TypeError, KeyError, OverflowError) as error:
            raise ValueError(f"expected embeddings from the engine, got others: {error}") from None
    result = read_result(output)
    if result.is_openai:
        return {**result.body, "model": asked.model}
    choices = [_choice(asked, index, choice) for index, choice in enumerate(result.choices)]
    body = head_of(asked, request_id, created_s) | {"choices": choices}
    if result.usage is not None:
        body["usage"] = result.usage
    return body


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
    other = "invalid_request_error" if 400 <= status < 500 else "server_error"
    kind = {
        401: "authentication_error",
        403: "permission_error",
        429: "rate_limit_error",
    }.get(status, other)
    error: Json = {"message": sentence, "type": kind, "param": parameter, "code": code}
    return {"error": {**error, "failure_type": failure} if failure else error}


def error_event(body: Json) -> bytes:
    """Return the body of an error as the last event of a stream."""
    return as_data(body) + DONE


def comment(text: str) -> bytes:
    """Return a line that clients ignore, and people can read."""
    return f": {text}\n\n".encode()


def models(names: list[str], created_s: int) -> Json:
    """Return the list of models: the services that a token may use."""
    return {"object": "list", "data": [model(name, created_s) for name in names]}


def model(name: str, created_s: int) -> Json:
    """Return one model."""
    return {"id": name, "object": "model", "created": created_s, "owned_by": "penstock"}


def head_of(asked: Asked, request_id: str, created_s: int) -> Json:
    """Return what every part of a response that is made here has."""
    chat = asked.kind is Kind.CHAT
    return {
        "id": f"{'chatcmpl' if chat else 'cmpl'}-{request_id}",
        "object": _CHAT_OBJECT if chat else _TEXT_OBJECT,
        "created": created_s,
        "model": asked.model,
    }


def as_data(body: Json) -> bytes:
    """Return an object as an event of a stream."""
    return f"data: {dumps(body, ensure_ascii=False)}\n\n".encode("utf-8", "replace")


def _choice(asked: Asked, index: int, choice: Json) -> Json:
    text, reason = text_of(choice), choice.get("finish_reason") or "stop"
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
