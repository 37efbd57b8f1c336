"""Why a put was refused: from what the store says to an error."""

from queue_service.errors import (
    ForeignEntry,
    NotInLineYet,
    QueueEnded,
    QueueFull,
    QuotaExceeded,
    ServiceError,
)
from queue_service.store.entry import NewEntry
from queue_service.store.keys import Role
from queue_service.store.owners import Foreign
from queue_service.store.putter import Putter, QuotaReached


def refusal_of(
    entry: NewEntry,
    said: tuple[int, str] | QuotaReached | Foreign | None,
    *,
    role: Role,
    capacity: int,
) -> ServiceError:
    """The error for an entry that was not stored; see Store.put for what the store says."""
    match said:
        case None:
            return QueueFull(role, capacity)
        case QuotaReached():
            return quota_exceeded(entry.putter, said)
        case Foreign():
            return ForeignEntry(entry.request_id)
        case (_, request_id):
            return NotInLineYet(request_id) if request_id else QueueEnded(role)


def quota_exceeded(putter: Putter | None, reached: QuotaReached) -> QuotaExceeded:
    """The error for a limit that the store has found reached."""
    # A share has no fixed size: it is what the token has now.
    limits: dict[str, float] = {}
    if putter is not None:
        limits = {"rate": putter.rate_per_s, "in_line": putter.in_line, "unread": putter.unread}
    return QuotaExceeded(
        reached.quota,
        limit=limits.get(reached.quota, reached.count),
        count=reached.count,
        retry_after_s=None if reached.wait_ms < 0 else reached.wait_ms / 1000,
    )
