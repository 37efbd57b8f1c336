"""Turns a refusal of the store into an error."""

from collections.abc import Awaitable, Callable

from queue_service.error_advice import UnreadResults
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
from queue_service.process.metrics import QueueMetrics
from queue_service.service.sink_wording import why_full
from queue_service.store.keys import Role
from queue_service.store.outcomes import IdTaken, NotStored, Refusal, SinkState, TooLate
from queue_service.store.putter import Putter, QuotaReached

StateIfFull = Callable[[str], Awaitable[SinkState | None]]


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


class Refusals:
    """Explains and counts what one queue refuses.

    state_if_full: returns the state of the sink for an owner, if its jobs wait for room there.
    """

    def __init__(self, role: Role, metrics: QueueMetrics) -> None:
        self.state_if_full: StateIfFull = _unknown
        self._role = role
        self._metrics = metrics

    async def error(
        self,
        refused: NotStored,
        *,
        request_id: str,
        putter: Putter | None,
        owner: str,
        capacity: int,
    ) -> ServiceError:
        """Return the error for an entry or a request of an owner that was not stored."""
        role = self._role
        error = error_of(
            refused, request_id=request_id, putter=putter, role=role, capacity=capacity
        )
        # A queue or a token had no room.
        if isinstance(refused.reason, Refusal | QuotaReached):
            self._metrics.refusals.inc()
        if _may_be_of_sink(refused) and (state := await self.state_if_full(owner)) is not None:
            error.results = UnreadResults(why_full(state), state.unread, state.next_ms)
            error.args = (f"{error}; {error.results.sentence}",)
        return error


async def _unknown(_: str) -> SinkState | None:
    return None


def _may_be_of_sink(refused: NotStored) -> bool:
    """Say whether a full sink may be the cause: waiting jobs fill the queue behind it."""
    match refused.reason:
        case Refusal.FULL:
            return True
        case QuotaReached(quota):
            return quota in ("input_share", "sink_share", "in_line", "unread")
        case _:
            return False


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
