"""Decides whether, when and how a failed attempt is repeated.  Pure.

| type                    | the next attempt                                                       |
|-------------------------|------------------------------------------------------------------------|
| bad_input               | none                                                                   |
| oom                     | at once, alone on the same worker; then elsewhere after a pause        |
| engine_lost, gpu_lost   | at once on another worker; from the second failure on after a pause    |
| transient, timeout,     | after a pause                                                          |
| internal                |                                                                        |

The n-th pause is `first_pause_s * factor ** (n - 1)`, at most `longest_pause_s`.  Up to `jitter` of
it is added at random, so that jobs that failed together do not all come back together.
"""

import math
from dataclasses import dataclass

from client_sdk.wire.failures import FailureType

#: The longest pause that a handler, a server or a policy can request, in seconds.
MOST_PAUSE_S = 3600.0
#: The shortest pause that a handler or a server can request, in seconds; it prevents busy loops.
LEAST_ASKED_S = 0.1
#: The largest value of `max_attempts`.
MOST_ATTEMPTS = 1000

_FIRST_AT_ONCE = (FailureType.ENGINE_LOST, FailureType.GPU_LOST)


@dataclass(frozen=True, slots=True)
class AttemptPolicy:
    """How often a job is tried, and the pauses between the attempts.

    max_attempts: 0 means the service's `max_delivery`.
    """

    max_attempts: int = 0
    first_pause_s: float = 1.0
    factor: float = 2.0
    longest_pause_s: float = 60.0
    jitter: float = 0.2


@dataclass(frozen=True, slots=True)
class Again:
    """Another attempt.  alone: on the same worker, with no other job in its engine."""

    pause_s: float = 0.0
    alone: bool = False


def next_attempt(
    policy: AttemptPolicy,
    failure: FailureType,
    *,
    attempt: int,
    was_alone: bool = False,
    asked_s: float | None = None,
    draw: float = 0.0,
) -> Again | None:
    """Return the next attempt after this failure; None if there is none.

    was_alone: this attempt already ran alone.  asked_s: the pause that the handler or the server
    requested.  draw: a random number from 0 to 1.
    """
    if failure is FailureType.BAD_INPUT or 0 < policy.max_attempts <= attempt:
        return None
    if asked_s is not None:
        return Again(asked_pause_s(asked_s))
    if failure is FailureType.OOM and not was_alone:
        return Again(alone=True)
    if failure in _FIRST_AT_ONCE:
        return Again(_pause_s(policy, attempt - 1, draw) if attempt > 1 else 0.0)
    return Again(_pause_s(policy, attempt, draw))


def asked_pause_s(asked_s: float) -> float:
    """Return a requested pause, limited to the allowed range."""
    return LEAST_ASKED_S if math.isnan(asked_s) else min(MOST_PAUSE_S, max(LEAST_ASKED_S, asked_s))


def _pause_s(policy: AttemptPolicy, number: int, draw: float) -> float:
    longest_s = policy.longest_pause_s
    if policy.first_pause_s <= 0:
        return 0.0
    # In logarithms, because after a thousand attempts the power would overflow a float.
    steps = (number - 1) * math.log(policy.factor)
    if steps >= math.log(max(longest_s, policy.first_pause_s) / policy.first_pause_s):
        pause_s = longest_s
    else:
        pause_s = policy.first_pause_s * math.exp(steps)
    return min(MOST_PAUSE_S, min(pause_s, longest_s) * (1.0 + policy.jitter * draw))
