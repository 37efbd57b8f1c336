"""Converts deliveries for a worker, and the rejections that it sends.  Pure."""

from client_sdk.wire import worker as wire
from client_sdk.wire.retry import MOST_PAUSE_S
from queue_service.delivery.subscriber import Subscriber
from queue_service.service.service import Service
from queue_service.store.entry import MAX_REASON_LENGTH, Delivery, Rejected
from queue_service.store.ticket import EVENTS


def to_wire(service: Service, delivery: Delivery) -> wire.Delivery:
    """Return a delivery for the worker: without the name of its owner."""
    entry = delivery.entry
    ticket = entry.ticket()
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
    )


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
