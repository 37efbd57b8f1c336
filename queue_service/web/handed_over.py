"""What a worker gets to know of an entry that it receives."""

from client_sdk.wire import worker as wire
from queue_service.service import Service
from queue_service.store.entry import Delivery
from queue_service.store.ticket import EVENTS


def to_wire(service: Service, delivery: Delivery) -> wire.Delivery:
    """Return a delivery as the worker gets it: without the name of its owner."""
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
