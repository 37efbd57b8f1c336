"""What follows a failed attempt: the whole table of the policy."""

import math

import pytest

from client_sdk.wire.failures import FailureType
from client_sdk.wire.retry import (
    LEAST_ASKED_S,
    MOST_PAUSE_S,
    Again,
    AttemptPolicy,
    asked_pause_s,
    next_attempt,
)

BAD, TRANSIENT, OOM = FailureType.BAD_INPUT, FailureType.TRANSIENT, FailureType.OOM
ENGINE, GPU = FailureType.ENGINE_LOST, FailureType.GPU_LOST
TIMEOUT, INTERNAL = FailureType.TIMEOUT, FailureType.INTERNAL
STEADY = AttemptPolicy(first_pause_s=3, factor=1, longest_pause_s=3, jitter=0)
NONE = AttemptPolicy(first_pause_s=0, jitter=1)
THREE = AttemptPolicy(max_attempts=3)


@pytest.mark.parametrize(
    ("policy", "failure", "attempt", "expected"),
    [
        *((AttemptPolicy(), BAD, attempt, None) for attempt in (1, 2, 9)),
        # 1 s, doubling up to 60 s.
        *(
            (AttemptPolicy(), failure, attempt, Again(pause_s))
            for failure in (TRANSIENT, TIMEOUT, INTERNAL)
            for attempt, pause_s in ((1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (8, 60), (10**6, 60))
        ),
        # The first time at once, and from then on with the same pauses.
        *(
            (AttemptPolicy(), failure, attempt, Again(pause_s))
            for failure in (ENGINE, GPU)
            for attempt, pause_s in ((1, 0), (2, 1), (3, 2), (4, 4), (10**6, 60))
        ),
        *((AttemptPolicy(), OOM, attempt, Again(alone=True)) for attempt in (1, 2, 7)),
        *((STEADY, TRANSIENT, attempt, Again(3)) for attempt in (1, 2, 99)),
        *((NONE, TRANSIENT, attempt, Again(0)) for attempt in (1, 2, 99)),
        *(
            (THREE, failure, 3, None)
            for failure in (TRANSIENT, TIMEOUT, INTERNAL, OOM, ENGINE, GPU)
        ),
        (THREE, TRANSIENT, 2, Again(2)),
        (AttemptPolicy(max_attempts=1), OOM, 1, None),
    ],
)
def test_the_policy(
    policy: AttemptPolicy, failure: FailureType, attempt: int, expected: Again | None
) -> None:
    found = next_attempt(policy, failure, attempt=attempt)
    assert (found is None) == (expected is None)
    if found and expected:
        assert found.alone == expected.alone
        assert found.pause_s == pytest.approx(expected.pause_s)


def test_a_job_that_ran_alone_and_lacked_memory_goes_elsewhere_after_a_pause() -> None:
    again = next_attempt(AttemptPolicy(), OOM, attempt=2, was_alone=True)
    assert again is not None
    assert again.pause_s == pytest.approx(2.0)
    assert not again.alone


@pytest.mark.parametrize(("draw", "pause_s"), [(0.0, 4.0), (0.5, 5.0), (1.0, 6.0)])
def test_jitter_only_lengthens_a_pause(draw: float, pause_s: float) -> None:
    policy = AttemptPolicy(first_pause_s=4, jitter=0.5)
    again = next_attempt(policy, TRANSIENT, attempt=1, draw=draw)
    assert again is not None
    assert again.pause_s == pytest.approx(pause_s)


@pytest.mark.parametrize(
    ("asked_s", "pause_s"),
    [
        (7.0, 7.0),
        (0.0, LEAST_ASKED_S),
        (-5.0, LEAST_ASKED_S),
        (1e9, MOST_PAUSE_S),
        (math.inf, MOST_PAUSE_S),
        (math.nan, LEAST_ASKED_S),
    ],
)
def test_a_requested_pause_is_bounded(asked_s: float, pause_s: float) -> None:
    assert asked_pause_s(asked_s) == pause_s
    assert next_attempt(AttemptPolicy(), OOM, attempt=1, asked_s=asked_s) == Again(pause_s)


def test_nobody_can_ask_for_more_attempts_than_there_are() -> None:
    assert next_attempt(THREE, TRANSIENT, attempt=3, asked_s=1.0) is None
    assert next_attempt(AttemptPolicy(), BAD, attempt=1, asked_s=1.0) is None


def test_the_longest_jitter_of_the_longest_pause_is_no_longer_than_any_pause() -> None:
    policy = AttemptPolicy(first_pause_s=3600, longest_pause_s=3600, jitter=1)
    assert next_attempt(policy, TRANSIENT, attempt=5, draw=1) == Again(MOST_PAUSE_S)
