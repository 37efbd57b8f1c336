"""The history of decisions as one autoscaler leaves it for the next."""

import json

import pytest

from deploy.autoscaling.kept_history import MOST_PARTS, from_json, to_json
from deploy.autoscaling.policy import History, Needed, PutCount

HUGE = {"needed": [[float("inf"), 0.0, 1.0]], "puts": []}
HISTORY = History((Needed(1, 10.0, 20.0), Needed(3, 20.0, 30.0)), (PutCount(30.0, 7),))


def test_a_history_survives() -> None:
    assert from_json(json.loads(json.dumps(to_json(HISTORY))), now_s=31.0) == HISTORY


def test_a_history_of_a_clock_that_is_ahead_ends_now() -> None:
    moved = from_json(to_json(HISTORY), now_s=25.0)
    assert moved.needed == (Needed(1, 5.0, 15.0), Needed(3, 15.0, 25.0))
    assert moved.puts == (PutCount(25.0, 7),)


@pytest.mark.parametrize(
    "kept", [None, [], "x", {}, {"needed": 1, "puts": []}, {"needed": [[1]], "puts": []}, HUGE]
)
def test_what_cannot_be_read_is_an_empty_history(kept: object) -> None:
    assert from_json(kept, now_s=1.0) == History()


def test_a_long_history_fits_into_the_store() -> None:
    needed = tuple(Needed(n % 2, 1.7e9 + n, 1.7e9 + n + 1) for n in range(86_400))
    kept = to_json(History(needed))
    assert len(json.dumps(kept)) < 60_000
    assert from_json(kept, now_s=2e9).needed == needed[-MOST_PARTS:]
