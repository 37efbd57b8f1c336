"""Windows and whose turn it is: pure, with plain values."""

from queue_service.delivery.window import Line, Window


def test_room_is_what_the_window_leaves_and_never_below_zero() -> None:
    window = Window(2)
    window.hold(3)
    assert window.room == 0
    window.release(5)
    assert (window.held, window.room) == (0, 2)


def test_the_emptiest_handed_come_first_and_the_full_ones_not_at_all() -> None:
    line: Line[str] = Line()
    for member, held in (("busy", 3), ("idle", 0), ("full", 4), ("other", 0)):
        line.place(member, Window(4, held))
    assert line.emptiest(10) == ["idle", "other", "busy"]
    assert line.emptiest(2, without={"idle"}) == ["other", "busy"]
    assert line.full == ["full"]


def test_whoever_is_placed_again_stands_behind_its_equals() -> None:
    line: Line[str] = Line()
    for member in ("first", "second", "first"):
        line.place(member, Window(1))
    assert line.emptiest(2) == ["second", "first"]
    line.place("second", Window(1, held=1))
    assert (line.emptiest(2), line.full) == (["first"], ["second"])


def test_a_line_is_empty_when_everybody_has_left() -> None:
    line: Line[str] = Line()
    line.place("roomy", Window(1))
    line.place("full", Window(0))
    line.leave("roomy")
    assert len(line) == 1
    line.leave("full")
    line.leave("nobody")
    assert len(line) == 0
