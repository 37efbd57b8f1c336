"""What a worker says of attempts that failed, as the store takes it.  Pure."""

from client_sdk.wire import worker as wire
from client_sdk.wire.retry import MOST_PAUSE_S
from queue_service.delivery.subscriber import Subscriber
from queue_service.store.entry import MAX_REASON_LENGTH, Rejected


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
        uncharged=item.uncharged,
    )
