"""What a worker says of attempts that failed: for the store, and for followers.  Pure."""

import json

from client_sdk.wire import codes, events
from client_sdk.wire import worker as wire
from client_sdk.wire.failures import type_named
from client_sdk.wire.retry import MOST_PAUSE_S
from queue_service.delivery.subscriber import Subscriber
from queue_service.store.entry import MAX_REASON_LENGTH, Rejected
from queue_service.store.ticket import Noted

#: The number of the event that tells of a failed attempt: after all that its engine has told, and
#: the same however often the worker says it, so that it is written down once.
LAST_SAID = 2**31 - 1


def to_rejected(subscriber: Subscriber, item: wire.Rejection) -> Rejected:
    """Return a rejection as the store takes it."""
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
    )


def to_event(subscriber: Subscriber, item: wire.Rejection) -> Noted | None:
    """Return what followers are told of a failed attempt; None for one that nobody follows."""
    if not item.request_id or item.code in (codes.SHUTDOWN, codes.CANCELED):
        return None
    told = {
        "type": type_named(item.type, item.code),
        "code": item.code,
        "message": item.reason[:MAX_REASON_LENGTH],
        "pause_s": item.pause_ms / 1000,
    }
    return Noted(
        gid=subscriber.gid,
        uid=subscriber.uid,
        index=item.index,
        attempt=item.attempt,
        request_id=item.request_id,
        said=LAST_SAID,
        kind=events.FAILED,
        data=json.dumps(told).encode(),
        tokens=0,
    )
