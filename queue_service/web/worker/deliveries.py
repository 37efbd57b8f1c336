"""Converts deliveries for a worker, and the rejections that it sends."""

import copy
import json
from dataclasses import replace

from client_sdk.wire import worker as wire
from client_sdk.wire.file_ref import FileRef
from client_sdk.wire.names import TICKET_TAG
from client_sdk.wire.retry import MOST_PAUSE_S
from queue_service.delivery.subscriber import Subscriber
from queue_service.service.service import Service
from queue_service.store.entry import MAX_REASON_LENGTH, Delivery, Entry, Rejected
from queue_service.store.owners import plain_name
from queue_service.store.payload import FileOfEntry, shown_tags
from queue_service.store.rules import MOST_READ_BYTES
from queue_service.store.ticket import EVENTS

#: How long an entry waits that a worker gave back because it takes no files, in ms.
NO_FILES_PAUSE_MS = 10_000


def to_wire(service: Service, delivery: Delivery) -> wire.Delivery:
    """Return a delivery for the worker: without the name of its owner."""
    entry = delivery.entry
    ticket, files = entry.ticket(), entry.files
    retry, most = service.retry_of(delivery.retry, has_ticket=bool(ticket))
    return wire.Delivery(
        index=entry.index,
        attempt=delivery.attempt,
        request_id=entry.request_id,
        data=entry.data,
        tags=entry.tags(),
        max_delivery=most,
        path=entry.path,
        content_type=entry.content_type,
        stored_at_ms=entry.stored_at_ms,
        priority=delivery.priority,
        deaths=delivery.deaths,
        events=ticket.startswith(EVENTS),
        run_timeout_ms=int(ticket[1:] or 0),
        retry=retry,
        alone=delivery.alone,
        owner_mark=service.mark_of(entry.owner),
        has_rivals=delivery.has_rivals,
        payload_file=next((_ref(file) for file in files if file.is_payload), None),
        files=tuple(_ref(file) for file in files if not file.is_payload),
        # Nobody could read those of an entry without a ticket, which came over the EAS protocol.
        artifact_bytes=service.artifact_bytes if ticket else 0,
    )


def _ref(file: FileOfEntry) -> FileRef:
    return FileRef(file.id, file.size_bytes, file.sha256, file.content_type, file.filename)


async def with_payload(
    service: Service, subscriber: Subscriber, delivery: Delivery
) -> Delivery | None:
    """Return a delivery for a worker that takes no files, with its payload in it.

    What does not fit is given back, for another worker: returns None then.
    """
    entry = delivery.entry
    file = entry.payload_file
    if file is not None and len(entry.files) == 1 and file.size_bytes <= MOST_READ_BYTES:
        filled = copy.copy(entry)
        filled.data, filled.tags_json = await service.files.read(file), b"{}"
        filled.tags_json = json.dumps(_kept_tags(entry)).encode()
        return replace(delivery, entry=filled)
    reason = f"worker {plain_name(subscriber.uid)} takes no files; update it"
    await service.input.reject(
        [
            Rejected(
                subscriber.gid,
                subscriber.uid,
                entry.index,
                delivery.attempt,
                "NoFiles",
                reason,
                pauses_ms=(NO_FILES_PAUSE_MS,),
            )
        ]
    )
    service.input.reopen(subscriber, 1)
    return None


def _kept_tags(entry: Entry) -> dict[str, str]:
    ticket = entry.ticket()
    own = {TICKET_TAG: ticket} if ticket else {}
    return {**shown_tags(entry.tags_json), **own}


def to_rejected(subscriber: Subscriber, item: wire.Rejection) -> Rejected:
    """Return a rejection for the store."""
    pause_ms = min(item.pause_ms, round(MOST_PAUSE_S * 1000))
    return Rejected(
        subscriber.gid,
        subscriber.uid,
        item.index,
        item.attempt,
        item.code,
        item.reason[:MAX_REASON_LENGTH],
        type=item.type,
        pauses_ms=(pause_ms,) if pause_ms else (),
        alone=item.alone,
        uncharged=item.uncharged,
    )
