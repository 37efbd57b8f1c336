"""Whose token puts, and what it may have: plain values, no Redis."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from queue_service.store.owners import Foreign, plain_name

#: Which limit of a token refuses a put.
Quota = Literal["in_line", "rate", "unread", "input_share", "sink_share"]


@dataclass(frozen=True, slots=True)
class Putter:
    """A token that puts, as the store is told of it; each limit is 0 for none.

    owner: whose its entries are, "" is the service's own.  Its tokens have one account.
    unread: most results in the sink.
    in_line: most entries that wait for a worker.  running: most that workers have at once.
    rate_per_s: puts in a second, over a while.  burst: how many may come at once.
    urgent: whether its priority goes before other owners' entries, and not only before its own.
    """

    token_id: str
    in_line: int = 0
    running: int = 0
    rate_per_s: float = 0.0
    burst: int = 1
    urgent: bool = False
    owner: str = ""
    unread: int = 0

    def to_text(self) -> str:
        """The same, as prelude/quotas.lua reads it."""
        interval_ms = 1000 / self.rate_per_s if self.rate_per_s else 0
        return (
            f"{self.owner or self.token_id} {self.in_line} {self.running} "
            f"{interval_ms:.6f} {self.burst} {int(self.urgent)} {self.unread}"
        )


@dataclass(frozen=True, slots=True)
class QuotaReached:
    """Nothing was stored: the token has as much as it may have.

    count: entries in line, for that limit.  wait_ms: until there is room; -1 is not known.
    """

    quota: Quota
    count: int
    wait_ms: int


def read_refusal(reply: Sequence[Any]) -> QuotaReached | None:
    """Read {"quota", which, count, wait in ms}; None for any other reply."""
    if reply[0] != b"quota":
        return None
    return QuotaReached(reply[1].decode(), int(reply[2]), int(reply[3]))


def read_put(reply: Sequence[Any]) -> tuple[int, str] | QuotaReached | Foreign | None:
    """Read what put.lua returns for one entry; the request id is as its owner knows it."""
    if not reply:
        return None
    if reply[0] == b"foreign":
        return Foreign()
    return read_refusal(reply) or (int(reply[0]), plain_name(reply[1].decode()))
