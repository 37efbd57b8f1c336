"""The EAS face: one URL for each queue, the operation chosen by method and query.

Alibaba's Python, Go and Java clients work against it unchanged.  Their spellings stop here.
"""

import contextlib
import logging
from urllib.parse import parse_qsl

from aiohttp import web

from client_sdk.wire import names
from queue_service.errors import (
    BadParameter,
    Forbidden,
    MethodNotAllowed,
    NoSuchPath,
    ServiceError,
)
from queue_service.service.access import Scope
from queue_service.service.queues import Queue
from queue_service.service.service import Service
from queue_service.store.entry import MAX_REASON_LENGTH, NewEntry, Read, Rejected
from queue_service.store.owners import AT, UNSURE, owned_name
from queue_service.store.putter import Putter
from queue_service.web.body import read_body
from queue_service.web.connection import has_left, has_taken_all, is_half_closed, leaving
from queue_service.web.eas.reader import Reader
from queue_service.web.eas.render import (
    render_attributes,
    render_entries,
    render_place,
    wants_protobuf,
)
from queue_service.web.eas.stream import stream
from queue_service.web.eas.watch import watch
from queue_service.web.keys import REQUEST_IDS, SERVICES, SETTINGS
from queue_service.web.parameters import MAX_INDEX, Parameters
from queue_service.web.tokens import (
    admission_of,
    check_admission,
    putter_with,
    require_scope,
    seek,
    settle,
)

log = logging.getLogger(__name__)

#: A long poll is answered this much before its time is over.  The Python SDK stops reading at
#: the very moment its own poll ends, and asks again: six requests for one (queue_client.py).
ANSWER_EARLY_S = 0.25
#: What a GET may ask for that takes nothing.
_LOOKS = (names.ATTRIBUTES, names.SEARCH, names.COUNT)
_INPUT_SCOPES = {"POST": Scope.SUBMIT, "DELETE": Scope.CANCEL}
_BELOW_SINK = f"{names.SINK}/"
#: Parameters of other methods: a GET that has one was meant to be something else than a read.
_CHANGES = (names.INDEXES, names.TRUNCATE, names.NEGATIVE, names.END_OF_STREAM, names.FORCE)
#: The methods of a queue.
ALLOWED = "GET, HEAD, POST, PUT, DELETE, OPTIONS"
#: The largest form of a negative commit.
MAX_FORM_BYTES = 64 * 1024


async def serve_queue(request: web.Request) -> web.StreamResponse:
    """Serve `/api/predict/{service}` and whatever lies below it."""
    if request.method == "OPTIONS":
        return web.Response(status=204, headers={"Allow": ALLOWED})
    name = request.match_info["service"]
    services = request.app[SERVICES]
    service = services.get(name) or await seek(request, name)
    return await _serve(request, service, request.match_info["suffix"])


async def serve_bare(request: web.Request) -> web.StreamResponse:
    """Serve the first service at the root, where a gateway has taken the prefix off."""
    service = request.app[SERVICES].first()
    if service is None:
        raise NoSuchPath(request.path)
    return await _serve(request, service, request.match_info.get("suffix", ""))


async def _serve(request: web.Request, service: Service, suffix: str) -> web.StreamResponse:
    path = suffix.strip("/")
    queue = service.input
    if path == names.SINK or path.startswith(_BELOW_SINK):
        queue, path = service.sink, path[len(_BELOW_SINK) :]
    parameters = Parameters(request)
    token = require_scope(request, service, *_scopes(request.method, queue, parameters))
    reader = Reader.of(queue, token)
    match request.method:
        case "POST" if names.END_OF_STREAM in parameters:
            if reader.owner:
                # A stream is everybody's, and so is its end.
                raise Forbidden(service.name, (Scope.ALL,))
            ended = parameters.flag(names.END_OF_STREAM)
            settle(request)
            await queue.end_stream(ended=ended, drop=ended and parameters.flag(names.FORCE))
            return web.Response(text="OK")
        case "POST":
            whose = putter_with(service, token) if queue.role == "input" else None
            return await put(request, reader, parameters, path, putter=whose)
        case "GET" | "HEAD":
            return await _read(request, reader, parameters)
        case "PUT" if parameters.flag(names.NEGATIVE):
            return await reject(request, reader, parameters)
        case "PUT":
            settle(request)
            gid, uid = reader.group(parameters), reader.user(parameters)
            await queue.commit(gid, uid, parameters.indexes())
            return web.Response(text="OK")
        case "DELETE":
            settle(request)
            return await delete(reader, parameters)
        case method:
            raise MethodNotAllowed(method, ALLOWED)


async def put(
    request: web.Request,
    reader: Reader,
    parameters: Parameters,
    path: str,
    *,
    putter: Putter | None,
) -> web.Response:
    """Store the body.  The answer is the index in plain digits: Go and Java parse it so."""
    settings, queue = request.app[SETTINGS], reader.queue
    request_id = parameters.request_id()
    entry_id = request_id or request.app[REQUEST_IDS].next()
    key = parameters.idempotency_key()
    if not key and queue.role == "input":
        # One request id is one piece of work, however often its put is repeated.  A sink may
        # hold several results for it.
        key = request_id
    data = await read_body(
        request, limit_bytes=queue.limits.payload_bytes, timeout_s=settings.body_timeout_s
    )
    settle(request)
    index, stored_id = await queue.put(
        NewEntry(
            entry_id,
            data,
            tags=parameters.tags(),
            priority=parameters.priority(),
            path=path,
            content_type=parameters.content_type(),
            idempotency_key=key,
            putter=putter,
            owner=reader.owner,
            meant=_meant(request, reader, request_id),
        )
    )
    return web.Response(text=str(index), headers={names.REQUEST_ID_HEADER: stored_id})


def _meant(request: web.Request, reader: Reader, request_id: str) -> str:
    """The stored name that a result's id says with its owner, as it came with the input; or "".

    An id may have an @ of its own.  Where this process knows no such owner, because the token is
    gone or was made on another replica a moment ago, the store decides: the name begins with
    UNSURE then.
    """
    plain, _, owner = request_id.rpartition(AT)
    if reader.queue.role == "input" or not plain or not owner:
        return ""
    is_owner = request.app[SERVICES].access.is_owner(owner)
    return f"{'' if is_owner else UNSURE}{owned_name(owner, plain)}"


def _scopes(method: str, queue: Queue, parameters: Parameters) -> tuple[Scope, ...]:
    """What a token must be good for: one of these is enough.

    The sink is its readers'; the input queue takes from those who submit and gives to those who
    work.  How long the line is, everybody may know who has to do with the service.
    """
    if method in ("GET", "HEAD") and any(map(parameters.flag, _LOOKS)):
        return tuple(Scope)
    if method == "POST" and names.END_OF_STREAM in parameters:
        method = "DELETE"
    if queue.role == "sink":
        return (Scope.WORK,) if method == "POST" else (Scope.READ,)
    return (_INPUT_SCOPES.get(method, Scope.WORK),)


async def _read(request: web.Request, reader: Reader, parameters: Parameters) -> web.StreamResponse:
    queue = reader.queue
    if parameters.flag(names.ATTRIBUTES):
        return render_attributes(request, queue, await queue.attributes(reader.viewer))
    if parameters.flag(names.SEARCH):
        index = parameters.number(names.INDEX, default=None, least=0, most=MAX_INDEX)
        place = await queue.search(reader.group(parameters), index, viewer=reader.viewer)
        return render_place(parameters.group(), place)
    if parameters.flag(names.COUNT):
        priority = parameters.priority() if names.PRIORITY in parameters else None
        wanted = reader.wanted(parameters)
        return web.Response(text=str(await queue.count(wanted, priority=priority)))
    if parameters.flag(names.WATCH):
        if request.method == "HEAD":
            raise MethodNotAllowed("HEAD", "GET")
        if "Upgrade" in request.headers:
            return await watch(request, reader, parameters)
        return await stream(request, reader, parameters)
    return await get(request, reader, parameters)


async def get(request: web.Request, reader: Reader, parameters: Parameters) -> web.StreamResponse:
    """Read entries, with a long poll; delete what was read once it is written."""
    settings, queue = request.app[SETTINGS], reader.queue
    raw = parameters.flag(names.RAW, default=True)
    index = parameters.number(names.INDEX, default=0, least=-1, most=MAX_INDEX)
    length = parameters.number(names.LENGTH, default=1, least=1, most=settings.max_get_length)
    timeout_s = parameters.duration_s(names.TIMEOUT, most_s=settings.max_timeout_s)
    _refuse_changes(parameters)
    delete = parameters.flag(names.AUTO_DELETE, default=takes_unasked(request, queue))
    if request.method == "HEAD":
        # It asks what a GET would find, and takes nothing.
        delete, timeout_s = False, 0.0
    if raw:
        # Raw shows one payload; reading more would delete what nobody sees.
        length = 1
    protobuf = wants_protobuf(request, raw=raw)
    if index == -1:
        index = await queue.newest(reader.wanted(parameters), length)

    taker = reader.taker if delete else ""
    admission = admission_of(request)
    entries = await queue.get(
        Read(reader.wanted(parameters, index), length, take=delete, taker=taker),
        timeout_s=max(timeout_s * 0.75, timeout_s - ANSWER_EARLY_S),
        given_up=lambda: has_left(request) or admission.ended,
        also=(admission.bell, leaving(request)) if timeout_s else (),
    )
    response = render_entries(entries, raw=raw, protobuf=protobuf, with_owner=reader.shows_owner)
    if delete and entries:
        indexes = [entry.index for entry in entries]
        await _write_then_delete(request, queue, response, indexes, taker)
    return response


def takes_unasked(request: web.Request, queue: Queue) -> bool:
    """Say whether a get without `_auto_delete_` takes what it reads.

    A poll of the sink does: PAI's predictors fetch their result so.  The input queue is its
    workers', and PAI's readiness check is a bare GET of it.  A browser that opens a link, or loads
    it ahead, asks for nothing at all.
    """
    opens_a_page = request.headers.get("Sec-Fetch-Mode") in ("navigate", "no-cors")
    loads_ahead = "Sec-Purpose" in request.headers or "Purpose" in request.headers
    return queue.role == "sink" and not opens_a_page and not loads_ahead


def _refuse_changes(parameters: Parameters) -> None:
    for name in _CHANGES:
        if name in parameters:
            raise BadParameter(name, "a PUT, POST or DELETE with it", "a GET, which only reads")


async def _write_then_delete(
    request: web.Request,
    queue: Queue,
    response: web.Response,
    indexes: list[int],
    taker: str,
) -> None:
    """Delete only what a client was there to receive."""
    transport = request.transport
    try:
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client has left")
        check_admission(request)
        # Without a buffer of ours, written is what the system has taken and not what waits here
        # for a client that may never read it.
        transport.set_write_buffer_limits(0)
        writer = await response.prepare(request)
        await response.write_eof()
        if writer is not None:
            await writer.drain()
        if request.protocol.writing_paused:
            raise ConnectionResetError("the client has left before it had read it all")
        transport.set_write_buffer_limits()
        if is_half_closed(request) and not await has_taken_all(request):
            raise ConnectionResetError("the client has left")
    except BaseException:
        with contextlib.suppress(ServiceError):
            await queue.restore(indexes)
        raise
    try:
        await queue.delete(indexes, taker=taker)
    except ServiceError as error:
        # The answer is on its way, so this can only be said here.  The entries are seen again
        # when their taking ends: read twice rather than lost.
        log.warning("%d entries were read and could not be deleted: %s", len(indexes), error)


async def delete(reader: Reader, parameters: Parameters) -> web.Response:
    """Remove entries by their indexes, or every one below an index."""
    queue = reader.queue
    if parameters.flag(names.TRUNCATE):
        below = parameters.number(names.INDEX, default=None, least=0, most=MAX_INDEX)
        await queue.truncate(below, viewer=reader.changes)
    else:
        await queue.delete(parameters.indexes(), viewer=reader.changes)
    return web.Response(text="OK")


async def reject(request: web.Request, reader: Reader, parameters: Parameters) -> web.Response:
    """Negative commit: the form says why; `Shutdown` is not counted against the entry."""
    settings = request.app[SETTINGS]
    indexes = parameters.indexes()
    body = await read_body(request, limit_bytes=MAX_FORM_BYTES, timeout_s=settings.body_timeout_s)
    settle(request)
    form = dict(parse_qsl(body.decode("utf-8", "replace")))
    code = form.get(names.CODE, "")
    if len(code) > 64:
        raise BadParameter(names.CODE, "at most 64 characters", f"{len(code)} characters")
    gid, uid = reader.group(parameters), reader.user(parameters)
    reason = form.get(names.REASON, "")[:MAX_REASON_LENGTH]
    await reader.queue.reject([Rejected(gid, uid, index, 0, code, reason) for index in indexes])
    return web.Response(text="OK")
