"""The token that puts, and its limits: plain values, no Redis."""

from dataclasses import dataclass, replace
from typing import Literal

#: Which limit of a token refuses a put.
Quota = Literal["in_line", "rate", "unread", "input_share", "sink_share"]

#: What marks the account of entries in bulk; prelude/bulk.lua has it too.  No account of a token
#: begins with it.
BULK = "~"


@dataclass(frozen=True, slots=True)
class Putter:
    """A token that puts, as the store needs it; a limit of 0 is none.

    owner: the owner of its entries, "" for the service itself.  The limits hold for all tokens of
    an owner together.
    unread: most results in the sink.
    in_line: most entries that wait for a worker.  running: most that workers hold at once.
    rate_per_s: puts in a second, on average.  burst: how many may come at once.
    account: what counts in the fair order and for the limits, if it is not the owner.
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
    account: str = ""

    def to_text(self) -> str:
        """Return what prelude/quotas.lua reads."""
        interval_ms = 1000 / self.rate_per_s if self.rate_per_s else 0
        return (
            f"{self.account or self.owner or self.token_id} {self.in_line} {self.running} "
            f"{interval_ms:.6f} {self.burst} {int(self.urgent)} {self.unread} {self.token_id}"
        )

    def in_bulk(self) -> "Putter":
        """Return this putter for entries of the lowest priority; prelude/bulk.lua has the rules.

        Of its limits only `running` holds: the others are for what comes from outside.
        """
        account = self.account or self.owner or self.token_id
        return replace(
            self,
            account=bulk_account(account),
            in_line=0,
            rate_per_s=0.0,
            burst=1,
            urgent=False,
            unread=0,
        )


def bulk_account(account: str) -> str:
    """Return the account of an owner's entries in bulk; "" is the service's own token."""
    return f"{BULK}{account}"


@dataclass(frozen=True, slots=True)
class QuotaReached:
    """A limit of a token is reached.

    count: what the token has.  wait_ms: until there is room; None is unknown.
    """

    quota: Quota
    count: int
    wait_ms: int | None
