"""Turns a refusal of the store into an error."""

from queue_service.errors import (
    BadParameter,
    ForeignEntry,
    IdInUse,
    NotInLineYet,
    QueueEnded,
    QueueFull,
    QuotaExceeded,
    ServiceError,
)
from queue_service.store.keys import Role
from queue_service.store.outcomes import IdTaken, NotStored, Refusal, TooLate
from queue_service.store.putter import Putter, QuotaReached


def error_of(
    refused: NotStored, *, request_id: str, putter: Putter | None, role: Role, capacity: int
) -> ServiceError:
    """Return the error for an entry or a request that was not stored."""
    match refused.reason:
        case Refusal() as refusal:
            return _refused_by_queue(refusal, request_id, role, capacity)
        case QuotaReached() as reached:
            return _quota_exceeded(putter, reached)
        case TooLate(option, by_ms):
            came = f"one {by_ms} ms in the past; nothing was stored"
            return BadParameter(option, "a time in the future", came)
        case IdTaken(other_id):
            return IdInUse(other_id)


def _refused_by_queue(refusal: Refusal, request_id: str, role: Role, capacity: int) -> ServiceError:
    match refusal:
        case Refusal.FULL:
            return QueueFull(role, capacity)
        case Refusal.ENDED:
            return QueueEnded(role)
        case Refusal.FOREIGN:
            return ForeignEntry(request_id)
        case Refusal.BEGINS_LATER:
            return NotInLineYet(request_id)


def is_full_or_limited(refused: NotStored) -> bool:
    """Say whether a queue or a token had no room, which the metric of refusals counts."""
    return isinstance(refused.reason, Refusal | QuotaReached)


def _quota_exceeded(putter: Putter | None, reached: QuotaReached) -> QuotaExceeded:
    # A share has no fixed size: it is what the token has now.
    limits: dict[str, float] = {}
    if putter is not None:
        limits = {"rate": putter.rate_per_s, "in_line": putter.in_line, "unread": putter.unread}
    return QuotaExceeded(
        reached.quota,
        limit=limits.get(reached.quota, reached.count),
        count=reached.count,
        retry_after_s=None if reached.wait_ms is None else reached.wait_ms / 1000,
    )
