"""The operations of the EAS protocol: each handler is a row of the table in `routes.py`.

Alibaba's Python, Go and Java clients work against it unchanged.  Their spellings stop here.
"""

import contextlib
import logging
from urllib.parse import parse_qsl

from aiohttp import web

from client_sdk.wire import names
from queue_service.errors import BadParameter, Forbidden, MethodNotAllowed, ServiceError
from queue_service.service.access import Scope
from queue_service.service.queues import Queue
from queue_service.store.entry import MAX_REASON_LENGTH, NewEntry, Read, Rejected
from queue_service.store.owners import AT, UNSURE, owned_name
from queue_service.store.payload import FileOfEntry
from queue_service.web.body import read_body
from queue_service.web.connection import has_left, leaving, write_whole
from queue_service.web.eas.contents import with_data
from queue_service.web.eas.reader import Reader
from queue_service.web.eas.render import (
    raw_headers,
    render_attributes,
    render_entries,
    render_place,
    wants_protobuf,
)
from queue_service.web.eas.stream import stream
from queue_service.web.eas.watch import watch_over_websocket
from queue_service.web.file_response import WholeFile, content_response
from queue_service.web.keys import REQUEST_IDS, SERVICES, SETTINGS
from queue_service.web.parameters import MAX_INDEX, Parameters
from queue_service.web.payload import receiving
from queue_service.web.references import resolving
from queue_service.web.tokens import admission_of, check_admission, settle

log = logging.getLogger(__name__)

#: A long poll is answered this much before its timeout, in seconds.  The Python SDK stops
#: reading when its own poll ends, and asks again: six requests for one (queue_client.py).
ANSWER_EARLY_S = 0.25
#: Parameters of other methods: a GET that has one was not meant as a read.
_CHANGES = (names.INDEXES, names.TRUNCATE, names.NEGATIVE, names.END_OF_STREAM, names.FORCE)
#: The methods of a queue.
ALLOWED = "GET, HEAD, POST, PUT, DELETE, OPTIONS"
#: The largest form of a negative commit.
MAX_FORM_BYTES = 64 * 1024


async def end_stream(request: web.Request, reader: Reader, parameters: Parameters) -> web.Response:
    """End the queue's stream, or open it again (`_eos_=false`)."""
    queue = reader.queue
    if reader.owner:
        # All tokens share the stream, and so its end.
        raise Forbidden(queue.service, (Scope.ALL,))
    ended = parameters.flag(names.END_OF_STREAM)
    settle(request)
    await queue.end_stream(ended=ended, drop=ended and parameters.flag(names.FORCE))
    return web.Response(text="OK")


async def put(request: web.Request, reader: Reader, parameters: Parameters) -> web.Response:
    """Store the body.  The response is the index in plain digits, as Go and Java parse it."""
    settings, queue = request.app[SETTINGS], reader.queue
    request_id = parameters.request_id()
    entry_id = request_id or request.app[REQUEST_IDS].next()
    key = parameters.idempotency_key()
    if not key and queue.role == "input":
        # A repeated put with one request id is one job.  A sink may hold several results for it.
        key = request_id
    content_type = parameters.content_type()
    async with (
        receiving(
            request,
            queue.files,
            queue.limits,
            timeout_s=settings.body_timeout_s,
            content_type=content_type,
        ) as received,
        resolving(received, queue.files, reader.files_of, queue.limits) as payload,
    ):
        service = request.app[SERVICES].get(queue.service)
        if service is not None and queue.role == "input" and not received.files:
            await service.interfaces.check(
                received.data, content_type=content_type, path=reader.path
            )
        settle(request)
        stored = await queue.put(
            NewEntry(
                entry_id,
                payload.data,
                tags=parameters.tags(),
                priority=parameters.priority(),
                path=reader.path,
                content_type=content_type,
                idempotency_key=key,
                putter=reader.putter,
                owner=reader.owner,
                meant=_meant(request, reader, request_id),
                files=payload.files,
            )
        )
    headers = {names.REQUEST_ID_HEADER: stored.request_id}
    return web.Response(text=str(stored.index), headers=headers)


def _meant(request: web.Request, reader: Reader, request_id: str) -> str:
    """Return the stored name that a result's id means when it names an owner (id@owner), else "".

    A plain id may contain an @ as well.  If this process does not know the owner, because its token
    is gone or was just made on another replica, the store decides: the name begins with UNSURE.
    """
    plain, _, owner = request_id.rpartition(AT)
    if reader.queue.role == "input" or not plain or not owner:
        return ""
    is_owner = request.app[SERVICES].access.is_owner(owner)
    return f"{'' if is_owner else UNSURE}{owned_name(owner, plain)}"


async def attributes(request: web.Request, reader: Reader, parameters: Parameters) -> web.Response:
    """Answer with the queue's attributes: its length, its groups and its subscribers."""
    state = await reader.queue.attributes(reader.viewer)
    return render_attributes(request, reader.queue, state)


async def search(request: web.Request, reader: Reader, parameters: Parameters) -> web.Response:
    """Answer with where an entry is: who holds it, or how many go before it."""
    index = parameters.number(names.INDEX, default=None, least=0, most=MAX_INDEX)
    place = await reader.queue.search(reader.group(parameters), index, viewer=reader.viewer)
    return render_place(parameters.group(), place)


async def count(request: web.Request, reader: Reader, parameters: Parameters) -> web.Response:
    """Answer with how many entries match."""
    priority = parameters.priority() if names.PRIORITY in parameters else None
    wanted = reader.wanted(parameters)
    return web.Response(text=str(await reader.queue.count(wanted, priority=priority)))


async def watch(request: web.Request, reader: Reader, parameters: Parameters) -> web.StreamResponse:
    """Subscribe the client: over a WebSocket when it asks for one, else over plain HTTP."""
    if request.method == "HEAD":
        raise MethodNotAllowed("HEAD", "GET")
    if "Upgrade" in request.headers:
        return await watch_over_websocket(request, reader, parameters)
    return await stream(request, reader, parameters)


async def get(request: web.Request, reader: Reader, parameters: Parameters) -> web.StreamResponse:
    """Read entries, with a long poll; delete them once the client has received them."""
    settings, queue = request.app[SETTINGS], reader.queue
    raw = parameters.flag(names.RAW, default=True)
    index = parameters.number(names.INDEX, default=0, least=-1, most=MAX_INDEX)
    length = parameters.number(names.LENGTH, default=1, least=1, most=settings.max_get_length)
    timeout_s = parameters.duration_s(names.TIMEOUT, most_s=settings.max_timeout_s)
    _refuse_changes(parameters)
    delete = parameters.flag(names.AUTO_DELETE, default=deletes_by_default(request, queue))
    if request.method == "HEAD":
        # It asks what a GET would find, and deletes nothing.
        delete, timeout_s = False, 0.0
    if raw:
        # A raw response has one payload; reading more would delete entries unseen.
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
    try:
        shown = entries if raw else await with_data(queue, entries)
        file = shown[0].payload_file if raw and shown else None
        if file is not None:
            headers = raw_headers(shown[0], with_owner=reader.shows_owner)
            response: web.StreamResponse = await _file_response(
                request, queue, file, headers, whole=delete
            )
        else:
            response = render_entries(
                shown, raw=raw, protobuf=protobuf, with_owner=reader.shows_owner
            )
    except BaseException:
        if delete and entries:
            with contextlib.suppress(ServiceError):
                await queue.restore([entry.index for entry in entries])
        raise
    if delete and entries:
        if beyond := [entry.index for entry in entries[len(shown) :]]:
            # The response has no room for these.
            await queue.restore(beyond)
        indexes = [entry.index for entry in shown]
        await _write_then_delete(request, queue, response, indexes, taker)
    return response


async def _file_response(
    request: web.Request, queue: Queue, file: FileOfEntry, headers: dict[str, str], *, whole: bool
) -> web.StreamResponse:
    content = await queue.files.content(file)
    headers = {**headers, "Content-Type": "application/octet-stream"}
    if whole:
        return WholeFile(content, file.size_bytes, headers)
    return await content_response(request, content, headers)


def deletes_by_default(request: web.Request, queue: Queue) -> bool:
    """Say whether a get without `_auto_delete_` deletes what it reads.

    On the sink it does: PAI's predictors fetch their result with such a poll.  On the input queue
    it does not: its entries are for workers, and PAI's readiness check is a bare GET of it.  A
    browser that opens or prefetches a link does not ask for a deletion either.
    """
    opens_a_page = request.headers.get("Sec-Fetch-Mode") in ("navigate", "no-cors")
    prefetches = "Sec-Purpose" in request.headers or "Purpose" in request.headers
    return queue.role == "sink" and not opens_a_page and not prefetches


def _refuse_changes(parameters: Parameters) -> None:
    for name in _CHANGES:
        if name in parameters:
            raise BadParameter(name, "a PUT, POST or DELETE with it", "a GET, which only reads")


async def _write_then_delete(
    request: web.Request,
    queue: Queue,
    response: web.StreamResponse,
    indexes: list[int],
    taker: str,
) -> None:
    """Delete the entries once their client has received them, else put them back."""
    try:
        check_admission(request)
        await write_whole(request, response)
    except BaseException:
        with contextlib.suppress(ServiceError):
            await queue.restore(indexes)
        raise
    try:
        await queue.delete(indexes, taker=taker)
    except ServiceError as error:
        # The response is sent, so this can only be logged.  The entries become visible again when
        # the read's hold on them expires: read twice rather than lost.
        log.warning("%d entries were read and could not be deleted: %s", len(indexes), error)


async def commit(request: web.Request, reader: Reader, parameters: Parameters) -> web.Response:
    """Commit deliveries of this user by their indexes."""
    settle(request)
    gid, uid = reader.group(parameters), reader.user(parameters)
    await reader.queue.commit(gid, uid, parameters.indexes())
    return web.Response(text="OK")


async def delete(request: web.Request, reader: Reader, parameters: Parameters) -> web.Response:
    """Delete entries by their indexes."""
    settle(request)
    await reader.queue.delete(parameters.indexes(), viewer=reader.changes)
    return web.Response(text="OK")


async def truncate(request: web.Request, reader: Reader, parameters: Parameters) -> web.Response:
    """Delete every entry below an index."""
    settle(request)
    below = parameters.number(names.INDEX, default=None, least=0, most=MAX_INDEX)
    await reader.queue.truncate(below, viewer=reader.changes)
    return web.Response(text="OK")


async def reject(request: web.Request, reader: Reader, parameters: Parameters) -> web.Response:
    """Negative commit: the form says why; `Shutdown` does not count against the entry."""
    settings = request.app[SETTINGS]
    indexes = parameters.indexes()
    body = await read_body(
        request,
        limit_bytes=MAX_FORM_BYTES,
        timeout_s=settings.body_timeout_s,
        is_fixed=True,
    )
    settle(request)
    form = dict(parse_qsl(body.decode("utf-8", "replace")))
    code = form.get(names.CODE, "")
    if len(code) > 64:
        raise BadParameter(names.CODE, "at most 64 characters", f"{len(code)} characters")
    gid, uid = reader.group(parameters), reader.user(parameters)
    reason = form.get(names.REASON, "")[:MAX_REASON_LENGTH]
    await reader.queue.reject([Rejected(gid, uid, index, 0, code, reason) for index in indexes])
    return web.Response(text="OK")


async def refuse_method(
    request: web.Request, reader: Reader, parameters: Parameters
) -> web.StreamResponse:
    """Refuse a method that no operation has."""
    raise MethodNotAllowed(request.method, ALLOWED)
