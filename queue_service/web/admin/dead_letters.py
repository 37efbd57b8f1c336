"""The admin API for dead letters: list, read, edit, replay and purge them.

`/v1/services/{service}/dead-letters`; `queue` selects the input queue (the default) or the sink.
"""

import base64
import binascii
import re
from dataclasses import asdict
from typing import Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, ValidationError

from client_sdk.wire import names
from queue_service.errors import BadParameter, NoSuchDeadLetter, RequestIdInUse
from queue_service.service.access import OWNER_PATTERN
from queue_service.service.queues import Queue
from queue_service.store.dead_letters import Choice, DeadLetter
from queue_service.web.body import read_body
from queue_service.web.keys import SETTINGS
from queue_service.web.parameters import MAX_INDEX, MAX_INDEXES, Parameters
from queue_service.web.statuses import status_of
from queue_service.web.strict_json import json_response
from queue_service.web.tokens import seek_admitted

#: Letters on one page: the default and the maximum.
PAGE, LONGEST_PAGE = 100, 1000
#: The size of an edit beside its data, in bytes.
FRAMING_BYTES = 64 * 1024
#: No owner can have this name.
_EVERYBODY = "*"


async def list_letters(request: web.Request) -> web.Response:
    """Answer with one page of letters, oldest first; `next` is the next page's `after`."""
    queue, parameters = await _queue(request)
    letters, go_on = await queue.dead_letters.list(
        _filter(parameters),
        after=str(parameters.number("after", default=0, least=0, most=MAX_INDEX)),
        most=parameters.number("length", default=PAGE, least=1, most=LONGEST_PAGE),
    )
    total = (await queue.attributes()).dead_letters.now
    shown = [_render(letter) for letter in letters]
    return json_response({"dead_letters": shown, "next": go_on or None, "total": total})


async def show(request: web.Request) -> web.Response:
    """Answer with one letter and its data, as text or else in base64."""
    queue, _ = await _queue(request)
    letter, data = await queue.dead_letters.show(_id(request))
    return json_response({**_render(letter), **_render_data(data)})


class Edit(BaseModel):
    """The body of a PATCH.  tags: replace the letter's tags of these names; null removes one."""

    model_config = ConfigDict(extra="forbid", strict=True)

    data: str | None = None
    data_base64: str | None = None
    tags: dict[str, str | None] = {}


async def edit(request: web.Request) -> web.Response:
    """Change data or tags of a letter; answer with the changed letter."""
    queue, _ = await _queue(request)
    index = _id(request)
    body = await read_body(
        request,
        # JSON may need six bytes for one, `\\u0000`.
        limit_bytes=6 * queue.limits.read_bytes + FRAMING_BYTES,
        timeout_s=request.app[SETTINGS].body_timeout_s,
    )
    try:
        wanted = Edit.model_validate_json(body)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "body"
        raise BadParameter(where, "JSON with data, data_base64 or tags", first["msg"]) from None
    for name in wanted.tags:
        if names.is_reserved(name) or name == names.REQUEST_ID_TAG:
            raise BadParameter("tags", "names that are not the protocol's own", repr(name))
    await queue.dead_letters.edit(index, data=_data_of(wanted), tags=wanted.tags)
    return await show(request)


async def replay_one(request: web.Request) -> web.Response:
    """Put one letter back; answer with its new index."""
    queue, _ = await _queue(request)
    index = _id(request)
    outcome = await queue.dead_letters.replay(Choice(ids=(index,)))
    if outcome.refusal is not None:
        raise outcome.refusal
    if outcome.in_use:
        raise RequestIdInUse(index)
    if outcome.absent:
        raise NoSuchDeadLetter(index)
    return json_response(_render_replayed(outcome.replayed)[0])


async def replay(request: web.Request) -> web.Response:
    """Put back some letters, or all; the error for a full queue lists what was put back."""
    queue, parameters = await _queue(request)
    outcome = await queue.dead_letters.replay(_choice(parameters))
    outcomes: dict[str, Any] = {
        "replayed": _render_replayed(outcome.replayed),
        "absent": outcome.absent,
        "in_use": outcome.in_use,
    }
    refusal = outcome.refusal
    if refusal is None:
        return json_response(outcomes)
    sentence = f"{refusal}; {len(outcome.replayed)} were put back before"
    return json_response(
        {"code": refusal.code, "message": sentence, **outcomes},
        status=status_of(refusal),
        headers={names.ERROR_CODE_HEADER: refusal.code},
    )


async def purge_one(request: web.Request) -> web.Response:
    """Remove one letter permanently."""
    queue, _ = await _queue(request)
    index = _id(request)
    if not await queue.dead_letters.purge(Choice(ids=(index,))):
        raise NoSuchDeadLetter(index)
    return json_response({"purged": 1})


async def purge(request: web.Request) -> web.Response:
    """Remove some letters permanently, or all."""
    queue, parameters = await _queue(request)
    return json_response({"purged": await queue.dead_letters.purge(_choice(parameters))})


async def _queue(request: web.Request) -> tuple[Queue, Parameters]:
    service = await seek_admitted(request, request.match_info["service"])
    parameters = Parameters(request)
    match parameters.text("queue", "input"):
        case "input":
            return service.input, parameters
        case "sink":
            return service.sink, parameters
        case other:
            raise BadParameter("queue", "input or sink", repr(other[:64]))


def _id(request: web.Request) -> int:
    text = request.match_info["id"]
    if not _is_index(text):
        raise BadParameter("id", "the index of a dead letter", repr(text[:64]))
    return int(text)


def _filter(parameters: Parameters) -> Choice:
    return Choice(
        code=parameters.text("code"),
        reason=parameters.text("reason"),
        request_id=parameters.request_id(),
        owner=_owner(parameters),
    )


def _owner(parameters: Parameters) -> str | None:
    """Read whose letters are meant; empty for those of the service's own token."""
    owner = parameters.text("owner", _EVERYBODY)
    if owner == _EVERYBODY:
        return None
    if not re.fullmatch(OWNER_PATTERN, owner):
        raise BadParameter("owner", "the owner or the id of a token", repr(owner[:64]))
    return owner


def _choice(parameters: Parameters) -> Choice:
    """Read which letters are meant; all of them only with `all=true`."""
    chosen = _filter(parameters)
    text = parameters.text("ids")
    if text:
        ids = text.split(",")
        if len(ids) > MAX_INDEXES or not all(_is_index(index) for index in ids):
            raise BadParameter("ids", f"at most {MAX_INDEXES} indexes with commas", repr(text[:64]))
        if chosen != Choice():
            raise BadParameter("ids", "either ids or a filter", "both")
        return Choice(ids=tuple(map(int, ids)))
    if chosen == Choice() and not parameters.flag("all"):
        raise BadParameter("all", "ids, code, reason, requestId, owner or all=true", "none of them")
    return chosen


def _is_index(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20


def _data_of(wanted: Edit) -> bytes | None:
    if wanted.data is not None and wanted.data_base64 is not None:
        raise BadParameter("data", "data or data_base64", "both")
    if wanted.data_base64 is not None:
        try:
            return base64.b64decode(wanted.data_base64, validate=True)
        except (binascii.Error, ValueError) as error:
            raise BadParameter("data_base64", "base64", str(error)) from None
    return None if wanted.data is None else wanted.data.encode("utf-8", "replace")


def _render(letter: DeadLetter) -> dict[str, Any]:
    shown = asdict(letter)
    del shown["tags_json"]
    shown["size_bytes"] = letter.payload_bytes
    return {"id": shown.pop("index"), **shown, "tags": letter.tags()}


def _render_data(data: bytes | None) -> dict[str, str]:
    if data is None:
        # Too large to be shown: `size_bytes` says how large.
        return {}
    try:
        return {"data": data.decode()}
    except UnicodeDecodeError:
        return {"data_base64": base64.b64encode(data).decode("ascii")}


def _render_replayed(replayed: list[tuple[int, int, str]]) -> list[dict[str, Any]]:
    return [{"id": old, "index": new, "request_id": name} for old, new, name in replayed]
