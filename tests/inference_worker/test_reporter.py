"""Events of engines, merged on their way to the followers."""

import pytest

from client_sdk.wire.events import Event
from client_sdk.wire.worker import Delivery
from inference_worker.engines.engine import Delta, Progress, Usage
from inference_worker.reporter import Reporter, whole_characters
from tests.waiting import wait_until


def delivery(attempt: int = 1) -> Delivery:
    return Delivery(7, attempt, "id", b"", events=True)


@pytest.mark.parametrize("text", ["", "a", "ä", "€", "𝄞", "a€", "€a"])
def test_a_character_is_never_torn(text: str) -> None:
    data = text.encode()
    for cut in range(len(data) + 1):
        whole = whole_characters(data[:cut])
        assert text.startswith(data[:whole].decode())
    assert whole_characters(data) == len(data)


def test_bytes_that_are_no_text_are_not_held_back() -> None:
    assert whole_characters(b"\x80\x80\x80\x80\x80") == 5


async def test_pieces_of_a_moment_are_one_event_and_the_rest_comes_with_the_end() -> None:
    told: list[Event] = []
    reporter = Reporter(told.append)
    for piece in (b"one ", b"two ", "€".encode()[:2]):
        reporter.add(delivery(), Delta(piece, tokens=1))
    reporter.add(delivery(), Progress(0.5, "half"))
    await wait_until(lambda: len(told) == 2, "they are passed on")
    assert [(e.number, e.kind, e.data) for e in told] == [
        (1, "delta", b"one two "),
        (2, "progress", b'{"fraction": 0.5, "note": "half"}'),
    ]
    reporter.add(delivery(), Delta("€".encode()[2:]))
    reporter.add(delivery(), Usage(1, 2))
    reporter.finish(delivery())
    assert [(e.number, e.kind) for e in told[2:]] == [(3, "delta"), (4, "usage")]
    assert told[2].data.decode() == "€"


async def test_a_newer_attempt_gets_everything_from_the_beginning() -> None:
    told: list[Event] = []
    reporter = Reporter(told.append)
    reporter.add(delivery(), Delta(b"one "))
    await wait_until(lambda: told, "it is passed on")
    reporter.move_to(delivery(attempt=2))
    reporter.add(delivery(attempt=2), Delta(b"two"))
    reporter.finish(delivery(attempt=2))
    assert [(e.attempt, e.number, e.data) for e in told] == [
        (1, 1, b"one "),
        (2, 1, b"one "),
        (2, 2, b"two"),
    ]
