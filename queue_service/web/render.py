"""Entries and queues as EAS clients read them."""

import json
from collections.abc import Sequence

from aiohttp import web

from client_sdk.wire import frame, names
from client_sdk.wire.frame import Frame
from queue_service.queues import Queue
from queue_service.store.entry import Entry, Place, QueueState, SubscriberState


def to_frame(entry: Entry, *, index_only: bool = False) -> Frame:
    """The entry as it crosses the wire."""
    return Frame(entry.index, entry.tags(), b"" if index_only else entry.data)


def render_entries(request: web.Request, entries: Sequence[Entry], *, raw: bool) -> web.Response:
    """Answer a get: 204 for nothing, one payload when raw, else a list as `Accept` asks."""
    if not entries:
        return web.Response(status=204)
    if raw:
        return _render_raw(entries[0])
    frames = [to_frame(entry) for entry in entries]
    if names.PROTOBUF in request.headers.get("Accept", ""):
        return web.Response(body=frame.encode_list(frames), content_type=names.PROTOBUF)
    return web.Response(body=frame.encode_json_list(frames), content_type=names.JSON)


def _render_raw(entry: Entry) -> web.Response:
    headers = {
        names.INDEX_HEADER: str(entry.index),
        names.REQUEST_ID_HEADER: entry.request_id,
        # ASCII by JSON's own escapes, as a header must be.
        names.TAGS_HEADER: json.dumps(entry.tags()),
    }
    return web.Response(body=entry.data, content_type="application/octet-stream", headers=headers)


def render_attributes(request: web.Request, queue: Queue, state: QueueState) -> web.Response:
    """Answer with the attributes, every value a text: protobuf for Go, JSON for the others."""
    attributes = attributes_of(queue, state)
    if names.PROTOBUF in request.headers.get("Accept", ""):
        body = frame.encode_attributes(attributes)
        return web.Response(body=body, content_type=names.PROTOBUF)
    return web.json_response(attributes)


def attributes_of(queue: Queue, state: QueueState) -> dict[str, str]:
    """The attributes under the names that EAS gives them."""
    suffix = "/sink" if queue.role == "sink" else ""
    count = str(len(state.subscribers))
    attributes = {
        "meta.name": queue.service + suffix,
        "meta.backend": "redis",
        "meta.state": "Normal",
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
    for position, subscriber in enumerate(state.subscribers):
        attributes[f"consumers.list.[{position}]"] = _describe(subscriber, state.now_ms)
    for position, group in enumerate(state.groups):
        attributes[f"groups.list.[{position}]"] = (
            f"Id: {group.gid}, Consumers: {group.members}, "
            f"Pending: {group.held}, Waiting: {group.waiting}"
        )
    return attributes


def _describe(subscriber: SubscriberState, now_ms: int) -> str:
    about = subscriber.about
    auto_commit = bool(about.get("auto_commit"))
    window = 0 if auto_commit else subscriber.window
    slots = max(0, window - subscriber.held)
    idle_s = max(0, now_ms - int(about.get("since_ms", now_ms))) / 1000
    tags = about.get("tags") or {}
    text = (
        f"Id: {subscriber.gid}.{subscriber.uid}, Index: {about.get('from', 0)}, "
        f"Pending: {subscriber.held}, Status: {'Running' if subscriber.connected else 'Leaving'}, "
        f"Idle: {idle_s:.3f}s, Window: {window}, Slots: {slots}, "
        f"AutoCommit: {'true' if auto_commit else 'false'}"
    )
    if tags:
        text += ", Tags: " + " ".join(f"tags[{name}={tags[name]}]" for name in sorted(tags))
    return text


def render_place(gid: str, place: Place) -> web.Response:
    """Answer a search."""
    return web.json_response(
        {
            "ConsumerId": f"{gid}.{place.uid}" if place.uid else "",
            "IsPending": place.held,
            "WaitCount": place.ahead,
        }
    )
