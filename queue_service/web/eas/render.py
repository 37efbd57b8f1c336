"""Entries and queues in the formats of EAS clients."""

import json
from collections.abc import Sequence

from aiohttp import web

from client_sdk.wire import frame, names
from client_sdk.wire.frame import Frame
from queue_service.errors import NotAcceptable
from queue_service.service.queues import Queue
from queue_service.store.entry import Entry, Place
from queue_service.store.state import QueueState, SubscriberState
from queue_service.web.header_text import header_json, header_text
from queue_service.web.strict_json import json_response

#: How long subscribers are listed after they have left, in milliseconds.
DEPARTED_LISTED_MS = 600_000


def to_frame(entry: Entry, *, index_only: bool = False, with_owner: bool = False) -> Frame:
    """Return the entry as a frame."""
    data = b"" if index_only else entry.data
    return Frame(entry.index, entry.tags(with_owner=with_owner), data)


def to_empty_frame(entry: Entry, *, with_owner: bool = False) -> Frame:
    """Return the frame of an entry that is too large for one: its client reads it raw."""
    tags = {**entry.tags(with_owner=with_owner), names.OMITTED_TAG: str(entry.size_bytes)}
    return Frame(entry.index, tags, b"")


def wants_protobuf(request: web.Request, *, raw: bool = False) -> bool:
    """Say whether `Accept` asks for protobuf rather than JSON; raise NotAcceptable for neither.

    Only FlatBuffers are refused: the Go client names them and cannot read them.  Any other value,
    or none, gets JSON.
    """
    accept = request.headers.get("Accept", "")
    if names.PROTOBUF in accept:
        return True
    if not raw and accept.partition(";")[0].strip().lower() == names.FLATBUFFERS:
        raise NotAcceptable(accept)
    return False


def render_entries(
    entries: Sequence[Entry], *, raw: bool, protobuf: bool, with_owner: bool = False
) -> web.Response:
    """Answer a get: 204 for no entries, one payload when raw, else a list."""
    if not entries:
        return web.Response(status=204)
    if raw:
        return _render_raw(entries[0], with_owner=with_owner)
    frames = [to_frame(entry, with_owner=with_owner) for entry in entries]
    if protobuf:
        return web.Response(body=frame.encode_list(frames), content_type=names.PROTOBUF)
    return web.Response(body=frame.encode_json_list(frames), content_type=names.JSON)


def _render_raw(entry: Entry, *, with_owner: bool) -> web.Response:
    headers = raw_headers(entry, with_owner=with_owner)
    return web.Response(body=entry.data, content_type="application/octet-stream", headers=headers)


def raw_headers(entry: Entry, *, with_owner: bool) -> dict[str, str]:
    """Return the headers of a raw payload, which say what a frame would."""
    return {
        names.INDEX_HEADER: str(entry.index),
        names.REQUEST_ID_HEADER: header_text(entry.shown_id(with_owner=with_owner)),
        # JSON escapes make it ASCII, as a header must be.
        names.TAGS_HEADER: header_json(json.dumps(entry.tags(with_owner=with_owner))),
    }


def render_attributes(request: web.Request, queue: Queue, state: QueueState) -> web.Response:
    """Answer with the attributes, all of them strings: protobuf for Go, JSON for others."""
    attributes = attributes_of(queue, state)
    if wants_protobuf(request):
        body = frame.encode_attributes(attributes)
        return web.Response(body=body, content_type=names.PROTOBUF)
    return json_response(attributes)


def attributes_of(queue: Queue, state: QueueState) -> dict[str, str]:
    """The attributes under the names that EAS gives them."""
    suffix = "/sink" if queue.role == "sink" else ""
    count = str(len(state.subscribers))
    attributes = {
        "meta.name": queue.service + suffix,
        "meta.backend": "redis",
        "meta.state": "End" if state.ended else "Normal",
        "meta.maxPayloadBytes": str(queue.limits.payload_bytes),
        "meta.header.user": names.USER_HEADER,
        "meta.header.group": names.GROUP_HEADER,
        "meta.header.priority": names.PRIORITY_HEADER,
        # Older Go clients look for these two.
        "meta.header.userIdentifyHeader": names.USER_HEADER,
        "meta.header.groupIdentifyHeader": names.GROUP_HEADER,
        "stream.length": str(state.length),
        "stream.approxMaxLength": str(queue.limits.capacity),
        "stream.firstEntry": str(state.first_index),
        "stream.lastEntry": str(state.last_index),
        # The documentation and the Go client spell it differently.
        "consumers.status.total": count,
        "consumers.stats.total": count,
    }
    lines = [_describe(queue, subscriber, state.now_ms) for subscriber in state.subscribers]
    lines += _describe_departed(state)
    for position, line in enumerate(lines):
        attributes[f"consumers.list.[{position}]"] = line
    for position, group in enumerate(state.groups):
        attributes[f"groups.list.[{position}]"] = (
            f"Id: {group.gid}, Consumers: {group.members}, "
            f"Pending: {group.held}, Waiting: {group.waiting}"
        )
    return attributes


def _describe(queue: Queue, subscriber: SubscriberState, now_ms: int) -> str:
    about = subscriber.about
    auto_commit = bool(about.get("auto_commit"))
    window = 0 if auto_commit else subscriber.window
    slots = max(0, window - subscriber.held)
    # A lease begins at the last sign of life, or at the end of the connection.
    lease_ms = queue.lease_ms if subscriber.connected else queue.release_grace_ms
    idle_s = max(0, lease_ms - (subscriber.lease_ends_ms - now_ms)) / 1000
    tags = about.get("tags") or {}
    text = (
        f"Id: {subscriber.gid}.{subscriber.uid}, Index: {about.get('from', 0)}, "
        f"Pending: {subscriber.held}, Status: {'Running' if subscriber.connected else 'Leaving'}, "
        f"Idle: {idle_s:.3f}s, Window: {window}, Slots: {slots}, "
        f"AutoCommit: {'true' if auto_commit else 'false'}"
    )
    if tags:
        text += f", Tags: tags[{' '.join(f'{name}={tags[name]}' for name in sorted(tags))}]"
    return text


def _describe_departed(state: QueueState) -> list[str]:
    """Describe who left lately: Complete with nothing held, Exit when others had to take over."""
    return [
        f"Id: {group.gid}.{one.uid}, Index: 0, Pending: 0, "
        f"Status: {'Exit' if one.held else 'Complete'}, Idle: {idle_ms / 1000:.3f}s, "
        "Window: 0, Slots: 0, AutoCommit: false"
        for group in state.groups
        for one in group.departed
        if (idle_ms := max(0, state.now_ms - one.left_at_ms)) < DEPARTED_LISTED_MS
    ]


def render_place(gid: str, place: Place) -> web.Response:
    """Answer a search."""
    return json_response(
        {
            "ConsumerId": f"{gid}.{place.uid}" if place.uid else "",
            "IsPending": place.held,
            "WaitCount": place.ahead,
        }
    )
