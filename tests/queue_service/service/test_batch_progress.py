"""How a batch advances: places may end in any order, and each counts once."""

import random

from queue_service.service.batches.progress import Outcome, advanced, open_places
from queue_service.store.batch import Part, State, Usage


def _outcome(place: int, *, succeeded: bool = True) -> Outcome:
    return Outcome(place, b"", succeeded, Usage(1, 2, 3, 4))


def test_places_end_in_any_order() -> None:
    chance = random.Random(1)
    places = list(range(200))
    chance.shuffle(places)
    state = State(total=200)
    ended: set[int] = set()
    while places:
        step = [places.pop() for _ in range(min(len(places), chance.randint(1, 9)))]
        ended |= set(step)
        state = advanced(state, Part(1), [_outcome(place) for place in step])
        assert list(open_places(state)) == [place for place in range(200) if place not in ended]
        assert State.from_json(state.to_json().encode()) == state
    assert (state.low, state.ahead, state.completed) == (200, (), 200)
    assert state.usage == Usage(200, 400, 600, 800)


def test_failures_count_and_a_lease_replaces_its_own_part() -> None:
    state = State(total=3, parts=(Part(1, 10, 0), Part(2, 5, 0)))
    state = advanced(state, Part(2, 9, 7), [_outcome(1, succeeded=False), _outcome(2)])
    assert (state.completed, state.failed, state.low, state.ahead) == (1, 1, 0, ((1, 3),))
    assert state.parts == (Part(1, 10, 0), Part(2, 9, 7))


def test_a_newer_version_may_have_written_more() -> None:
    text = State(total=3, parts=(Part(1),)).to_json()
    newer = text.replace('"total"', '"later": {}, "total"').replace('"epoch"', '"x": 1, "epoch"')
    assert State.from_json(newer.encode()) == State(total=3, parts=(Part(1),))


def test_the_record_stays_small_while_one_line_is_stuck() -> None:
    state = State(total=1_000_000)
    places = list(range(1, 200_001))
    while places:
        state = advanced(state, Part(1), [_outcome(place) for place in places[:1000]])
        del places[:1000]
        assert len(state.to_json()) < 1000
    assert (state.low, state.ahead) == (0, ((1, 200_001),))
    assert next(open_places(state)) == 0
    state = advanced(state, Part(1), [_outcome(0)])
    assert (state.low, state.ahead, state.completed) == (200_001, (), 200_001)
