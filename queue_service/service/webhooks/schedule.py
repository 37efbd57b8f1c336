"""When a delivery is tried again.  Pure: the schedule of Standard Webhooks."""

import random
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_MINUTE_S, _HOUR_S = 60, 3600
#: The pauses after each failed attempt, in seconds: 75 h 35 min in all.
PAUSES_S = (
    5,
    5 * _MINUTE_S,
    30 * _MINUTE_S,
    2 * _HOUR_S,
    5 * _HOUR_S,
    10 * _HOUR_S,
    14 * _HOUR_S,
    20 * _HOUR_S,
    24 * _HOUR_S,
)
#: Up to this share of a pause is added or taken away at random, so that a receiver that comes back
#: does not get everything at once.
JITTER = 0.1
#: The longest wait that a receiver may ask for, in seconds.
MOST_ASKED_S = 24 * _HOUR_S
#: Statuses of a busy receiver; `Retry-After` may say when to try again.
THROTTLED = frozenset({429, 502, 503, 504})


def next_try_ms(
    attempts: int, *, asked_s: float | None, scale: float = 1.0, chance: float | None = None
) -> int | None:
    """Return the pause after the last of `attempts` attempts; None if there is no further one.

    asked_s: the least pause that the receiver asks for.  scale: of the schedule, not of what is
    asked for.  chance: from 0 to 1, random if it is not given.
    """
    if not 0 < attempts <= len(PAUSES_S):
        return None
    moved = 1 + JITTER * (2 * (random.random() if chance is None else chance) - 1)
    pause_s = PAUSES_S[attempts - 1] * moved * scale
    return round(1000 * max(pause_s, min(asked_s or 0.0, MOST_ASKED_S)))


def asked_pause_s(status: int, headers: Mapping[str, str], now: datetime) -> float | None:
    """Return how long a receiver asks to wait, in seconds or as a date; None if it does not."""
    text = headers.get("Retry-After", "").strip()
    if status not in THROTTLED or not text:
        return None
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - now).total_seconds())
