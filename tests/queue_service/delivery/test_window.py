"""Windows and whose turn it is: pure, with plain values."""

from queue_service.delivery.window import Ranking, Window


def test_room_is_what_the_window_leaves_and_never_below_zero() -> None:
    window = Window(2)
    window.hold(3)
    assert window.room == 0
    window.release(5)
    assert (window.held, window.room) == (0, 2)


def test_those_that_hold_the_fewest_come_first_and_the_full_ones_not_at_all() -> None:
    ranking: Ranking[str] = Ranking()
    for member, held in (("busy", 3), ("idle", 0), ("full", 4), ("other", 0)):
        ranking.place(member, Window(4, held))
    assert ranking.first(10) == ["idle", "other", "busy"]
    assert ranking.first(2, without={"idle"}) == ["other", "busy"]
    assert ranking.full == ["full"]


def test_a_subscriber_that_is_placed_again_comes_after_its_equals() -> None:
    ranking: Ranking[str] = Ranking()
    for member in ("first", "second", "first"):
        ranking.place(member, Window(1))
    assert ranking.first(2) == ["second", "first"]
    ranking.place("second", Window(1, held=1))
    assert (ranking.first(2), ranking.full) == (["first"], ["second"])


def test_a_line_is_empty_when_everybody_has_left() -> None:
    ranking: Ranking[str] = Ranking()
    ranking.place("roomy", Window(1))
    ranking.place("full", Window(0))
    ranking.leave("roomy")
    assert len(ranking) == 1
    ranking.leave("full")
    ranking.leave("nobody")
    assert len(ranking) == 0
