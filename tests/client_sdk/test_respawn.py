"""When a process that has ended is started again."""

import pytest

from client_sdk.respawn import Respawn

POLICY = Respawn(first_s=0.5, longest_s=10.0, good_life_s=30.0)


@pytest.mark.parametrize(
    ("ends_in_row", "pause_s"),
    [(1, 0.5), (2, 1.0), (3, 2.0), (20, 10.0), (5_000, 10.0)],
)
def test_each_end_in_a_row_doubles_the_pause_up_to_a_limit(
    ends_in_row: int, pause_s: float
) -> None:
    assert POLICY.pause_s(ends_in_row) == pause_s


def test_a_good_life_makes_the_next_end_the_first_in_a_row() -> None:
    assert POLICY.ends_in_row(0, lived_s=0.1) == 1
    assert POLICY.ends_in_row(7, lived_s=29.9) == 8
    assert POLICY.ends_in_row(7, lived_s=30.1) == 1
    assert (POLICY.did_well(30.0), POLICY.did_well(30.1)) == (False, True)
