"""Errors as servers report them, which differ in their form.  Pure."""

import re
from typing import Any

from queue_service.web.strict_json import read_object

Json = dict[str, Any]

#: OpenAI's code of a request that does not fit into the model's context.
CONTEXT_LENGTH_EXCEEDED = "context_length_exceeded"

#: How servers (vLLM, SGLang, llama.cpp, TGI) say that a request does not fit.
_TOO_LONG = re.compile(
    r"(?:maximum|model's|available) context (?:length|size|window)|maximum model length|"
    r"longer than the (?:maximum|model's)|`inputs` tokens \+ `max_new_tokens` must be",
    re.IGNORECASE,
)
#: A sentence of our engines that begins with the parameter.
_PARAMETER = re.compile(r"([A-Za-z_][A-Za-z0-9_.]{0,63}): expected |(/[^\s:]{1,128}): ")


def read_error(body: bytes) -> Json | None:
    """Return the fields of the error in a server's response, `message` among them.

    None if the response has none that can be read.
    """
    read = read_object(body)
    error = read.get("error")
    if isinstance(error, dict):
        found = error
    elif isinstance(error, str):
        found = {**read, "message": error}
    elif read.get("object") == "error" or "message" in read:
        found = read
    else:
        found = _error_in_detail(read.get("detail"))
    if not isinstance(found.get("message"), str):
        return None
    return {name: found[name] for name in found if name not in ("object", "error")}


def _error_in_detail(detail: Any) -> Json:
    """Return the error in the `detail` of FastAPI: a text, or a list of mistakes."""
    if isinstance(detail, str):
        return {"message": detail}
    mistakes = [one for one in detail if isinstance(one, dict)] if isinstance(detail, list) else []
    said = []
    for mistake in mistakes:
        where = mistake.get("loc")
        place = ".".join(map(str, where[1:])) if isinstance(where, list) else ""
        said.append((place, str(mistake.get("msg"))))
    if not said:
        return {}
    message = "; ".join(f"{place}: {sentence}" if place else sentence for place, sentence in said)
    return {"message": message, "param": said[0][0] or None}


def is_too_long(status: int, message: str) -> bool:
    """Return whether an error says that the request does not fit into the model's context."""
    return status in (400, 413, 422) and _TOO_LONG.search(message) is not None


def parameter_in(sentence: str) -> str | None:
    """Return the parameter that a sentence of our engines is about."""
    found = _PARAMETER.match(sentence)
    return (found[1] or found[2]) if found else None
