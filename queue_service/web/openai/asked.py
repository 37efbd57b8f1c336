"""The part of an OpenAI request that the queue service understands.

The rest is for the engine: it gets the body nearly unchanged, with the path, so that an engine in
front of another OpenAI server can send it on.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from queue_service.errors import BadParameter
from queue_service.web.strict_json import no_constant


class Kind(StrEnum):
    """The kind of a request: its path below `/v1/`."""

    CHAT = "chat/completions"
    TEXT = "completions"
    EMBEDDINGS = "embeddings"

    @property
    def input_name(self) -> str:
        """The required parameter."""
        return {"chat/completions": "messages", "completions": "prompt"}.get(self, "input")


@dataclass(frozen=True, slots=True)
class Asked:
    """One request.

    service: the request's `model` up to its first slash.  An engine that serves several models gets
        the rest as its model.
    data: the body for the engine.
    base64: the client asks for embeddings in base64 instead of numbers.
    """

    kind: Kind
    service: str
    model: str
    data: bytes
    stream: bool = False
    include_usage: bool = False
    base64: bool = False

    @property
    def path(self) -> str:
        """The path at the engine's own server, if it has one."""
        return f"v1/{self.kind}"


def read_asked(kind: Kind, body: bytes) -> Asked:
    """Read the body of a request; raises BadParameter."""
    return asked_of(kind, as_object(body))


def asked_of(kind: Kind, wanted: Mapping[str, Any]) -> Asked:
    """Read a body that is parsed already; raises BadParameter."""
    model = wanted.get("model")
    if not isinstance(model, str) or not model:
        raise BadParameter("model", "the name of a service", _came(model))
    if not wanted.get(kind.input_name):
        came = _came(wanted.get(kind.input_name))
        raise BadParameter(kind.input_name, "something to answer", came)
    stream = _flag(wanted, "stream") and kind is not Kind.EMBEDDINGS
    options = wanted.get("stream_options") or {}
    if not isinstance(options, dict):
        raise BadParameter("stream_options", "an object", _came(options))
    encoding = wanted.get("encoding_format")
    if kind is Kind.EMBEDDINGS and encoding not in (None, "float", "base64"):
        raise BadParameter("encoding_format", "float or base64", _came(encoding))

    service, _, rest = model.partition("/")
    passed_on = dict(wanted, model=rest or model, stream=stream)
    if kind is Kind.EMBEDDINGS:
        # Base64 is made here for every engine; engines return numbers.
        del passed_on["stream"]
        passed_on.pop("encoding_format", None)
    return Asked(
        kind=kind,
        service=service,
        model=model,
        data=written(passed_on),
        stream=stream,
        include_usage=_flag(options, "include_usage"),
        base64=encoding == "base64",
    )


def as_object(body: bytes) -> dict[str, Any]:
    """Return a body that is a JSON object; raises BadParameter."""
    try:
        wanted = json.loads(body, parse_constant=no_constant)
    except (ValueError, RecursionError) as error:
        raise BadParameter("the body", "JSON", str(error)) from None
    if not isinstance(wanted, dict):
        raise BadParameter("the body", "a JSON object", _came(wanted))
    return wanted


def written(passed_on: dict[str, Any]) -> bytes:
    """Return an object as JSON for an engine; raises BadParameter."""
    try:
        text = json.dumps(passed_on, ensure_ascii=False, allow_nan=False)
    except (ValueError, RecursionError):
        raise BadParameter("the body", "JSON", "a number or depth beyond it") from None
    return text.encode("utf-8", "surrogatepass")


def _flag(wanted: Mapping[str, Any], name: str) -> bool:
    value = wanted.get(name)
    if value is not None and not isinstance(value, bool):
        raise BadParameter(name, "true or false", _came(value))
    return bool(value)


def _came(value: object) -> str:
    return "nothing" if value is None else repr(value)[:64]
