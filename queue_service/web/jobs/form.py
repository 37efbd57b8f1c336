"""A form as the input of a job: `curl -F image=@cat.jpg -F prompt="a hat" .../jobs`.

Fields become the values that the schema of the service wants, files become data URLs.  Without a
schema of named inputs a form is a payload like any other, and engines get it as it came.
"""

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import quote

from aiohttp import BodyPartReader, MultipartReader, StreamReader, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import HttpProcessingError

from client_sdk.wire import names
from queue_service.errors import BadParameter
from queue_service.service.schema_cost import DATA_URL, target_of
from queue_service.service.service import Service
from queue_service.web.body import read_body
from queue_service.web.jobs.options import Options
from queue_service.web.keys import SETTINGS

FORM = "multipart/form-data"
#: The most alternatives of one field that are tried.
MAX_ALTERNATIVES = 20
#: The most fields of one form.
MAX_FIELDS = 1000
_FLAGS = {"true": True, "on": True, "yes": True, "1": True}
_FLAGS |= {"false": False, "off": False, "no": False, "0": False}
_MEDIA_TYPE = re.compile(r"[\w.+-]{1,64}/[\w.+-]{1,64}", re.ASCII)


async def read_form(
    request: web.Request, service: Service, options: Options
) -> tuple[Options, bytes | None]:
    """Return the options and the JSON of a form; for any other body the same options and None."""
    if request.content_type != FORM or (schema := await _schema_of(service)) is None:
        return options, None
    data = await read_body(
        request,
        limit_bytes=service.input.limits.read_bytes,
        timeout_s=request.app[SETTINGS].body_timeout_s,
    )
    values: dict[str, Any] = {}
    kinds: dict[str, list[dict[str, Any]]] = {}
    count = 0
    async for part in _parts(request, data):
        count += 1
        name = part.name
        if not name or count > MAX_FIELDS:
            came = "more" if name else "one without a name"
            raise BadParameter("the form", f"at most {MAX_FIELDS} fields with names", came)
        content = bytes(await part.read())
        if name not in kinds:
            kinds[name] = _kinds(schema, schema["properties"].get(name, {}))[:MAX_ALTERNATIVES]
        value = _value_of(kinds[name], part, content)
        is_list = any(one.get("type") == "array" for one in kinds[name])
        if is_list and not isinstance(value, list):
            values.setdefault(name, []).append(value)
        else:
            values[name] = value
    text = json.dumps(values, ensure_ascii=False)
    return options.model_copy(update={"content_type": names.JSON}), text.encode(errors="replace")


async def _schema_of(service: Service) -> dict[str, Any] | None:
    """Return the schema of the newest worker if it has inputs by name."""
    for declared in await service.interfaces.accepted():
        part = declared.document.get("input")
        schema = part.get("schema") if isinstance(part, dict) else None
        if not isinstance(schema, dict):
            return None
        found = _resolved(schema, schema)
        if isinstance(found.get("properties"), dict):
            return {**found, "$defs": schema.get("$defs", {})}
        return None
    return None


async def _parts(request: web.Request, data: bytes) -> AsyncIterator[BodyPartReader]:
    stream = StreamReader(BaseProtocol(asyncio.get_running_loop()), limit=2**16)
    stream.feed_data(data)
    stream.feed_eof()
    try:
        reader = MultipartReader(request.headers, stream)
        while (part := await reader.next()) is not None:
            if isinstance(part, MultipartReader):
                raise BadParameter("the form", "fields", "a form inside the form")
            yield part
    except (ValueError, AssertionError, HttpProcessingError, web.RequestPayloadError) as error:
        came = " ".join(str(error).split())[:128] or "another"
        raise BadParameter("the body", f"a form ({FORM})", came) from None


def _value_of(kinds: list[dict[str, Any]], part: BodyPartReader, content: bytes) -> Any:
    """Return the value of a field; one that does not fit stays a text, which the check refuses."""
    if any(one.get("pattern") == DATA_URL for one in kinds) and (
        part.filename or not _is_text(part)
    ):
        return _data_url(part, content)
    text = content.decode("utf-8", "replace")
    return next((value for one in kinds for value in _read(one, text)), text)


def _read(wanted: Mapping[str, Any], text: str) -> list[Any]:
    """Return the value that a schema wants, in a list; none if the text is no such value."""
    kind = wanted.get("type")
    if kind == "boolean":
        flag = _FLAGS.get(text.strip().lower())
        return [] if flag is None else [flag]
    if kind == "null":
        return [None] if not text.strip() or text == "null" else []
    if kind == "string":
        return [text]
    options = wanted.get("enum")
    if isinstance(options, list) and text in options:
        return [text]
    types = _TYPES.get(str(kind), ())
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return []
    is_wanted = isinstance(value, types) and not isinstance(value, bool)
    return [value] if is_wanted or (isinstance(options, list) and value in options) else []


_TYPES: dict[str, tuple[type, ...]] = {
    "integer": (int,),
    "number": (int, float),
    "array": (list,),
    "object": (dict,),
}


def _kinds(root: Mapping[str, Any], wanted: Any, depth: int = 0) -> list[dict[str, Any]]:
    """Return the alternatives of a schema; of a list also those of its items.

    A text fits everything, so it is the last.
    """
    found = _resolved(root, wanted)
    if depth > 4:
        return []
    alternatives = [one for name in ("anyOf", "oneOf") for one in found.get(name, [])]
    kinds = [one for part in alternatives for one in _kinds(root, part, depth + 1)] or [found]
    if isinstance(found.get("type"), list):
        kinds = [{**found, "type": one} for one in found["type"]]
    if found.get("type") == "array":
        kinds += _kinds(root, found.get("items", {}), depth + 1)
    return sorted(kinds, key=lambda one: one.get("type") == "string")


def _resolved(root: Mapping[str, Any], part: Any) -> dict[str, Any]:
    for _ in range(8):
        if not isinstance(part, dict) or not isinstance(part.get("$ref"), str):
            break
        part = target_of(root, part["$ref"])
    return part if isinstance(part, dict) else {}


def _is_text(part: BodyPartReader) -> bool:
    return part.headers.get("Content-Type", "text/plain").startswith("text/plain")


def _data_url(part: BodyPartReader, content: bytes) -> str:
    kind = part.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    kind = kind if _MEDIA_TYPE.fullmatch(kind) else "application/octet-stream"
    named = f";name={quote(part.filename[-128:], safe='')}" if part.filename else ""
    return f"data:{kind}{named};base64,{base64.b64encode(content).decode()}"
