"""The history of decisions as JSON: what one autoscaler leaves for the next one."""

from typing import Any

from deploy.autoscaling.policy import History, Needed, PutCount

#: The most parts that are kept: the queue service takes 64 KiB.
MOST_PARTS = 600


def to_json(history: History) -> dict[str, Any]:
    """Return the history as JSON; without its oldest parts if it is very long."""
    return {
        "needed": [
            [one.workers, round(one.from_s, 3), round(one.to_s, 3)]
            for one in history.needed[-MOST_PARTS:]
        ],
        "puts": [[round(one.at_s, 3), one.total] for one in history.puts],
    }


def from_json(kept: object, *, now_s: float) -> History:
    """Read the history that another autoscaler has left; an unreadable one is empty.

    Its clock may differ from ours.  Times must not go back, so a history that ends in the future
    is moved to end now.
    """
    try:
        assert isinstance(kept, dict)
        needed = tuple(Needed(int(n), float(a), float(b)) for n, a, b in kept["needed"])
        puts = tuple(PutCount(float(at), int(total)) for at, total in kept["puts"])
    except (AssertionError, KeyError, TypeError, ValueError, OverflowError):
        return History()
    last = max([one.to_s for one in needed] + [one.at_s for one in puts], default=now_s)
    ahead_s = max(0.0, last - now_s)
    return History(
        tuple(Needed(one.workers, one.from_s - ahead_s, one.to_s - ahead_s) for one in needed),
        tuple(PutCount(one.at_s - ahead_s, one.total) for one in puts),
    )
