"""The log of one attempt: limits, portions, notes.  No process and no service."""

import json
import threading
from collections.abc import Callable

import pytest

from client_sdk.wire.errors import WireError
from client_sdk.wire.job_log import (
    MOST_CHARACTERS,
    MOST_EVENT_BYTES,
    STDERR,
    STDOUT,
    LogLine,
    read_lines,
    write_lines,
)
from inference_worker.engines import job_log
from inference_worker.engines.engine import Event, Logged
from inference_worker.engines.job_log import JobLog, attributed_to, current_log


class Sent:
    """What a log has sent, and what it wants to have called later."""

    def __init__(self, most_bytes: int = 10_000) -> None:
        self.events: list[Logged] = []
        self.due: list[Callable[[], None]] = []
        self.log = JobLog(most_bytes, self._send, lambda after_s, call: self.due.append(call))

    def _send(self, event: Event) -> None:
        assert isinstance(event, Logged)
        self.events.append(event)

    def tick(self) -> None:
        due, self.due = self.due, []
        for call in due:
            call()

    @property
    def texts(self) -> list[str]:
        return [line.text for event in self.events for line in event.lines]


def test_the_first_line_is_sent_at_once_and_those_after_it_together() -> None:
    sent = Sent()
    sent.log.write(STDOUT, "one\n")
    sent.tick()
    assert sent.texts == ["one"]
    for number in range(100):
        sent.log.write(STDOUT, f"{number}\n")
    assert len(sent.due) == 1
    sent.tick()
    assert len(sent.events) == 2
    sent.tick()
    assert not sent.due, "a silent log costs nothing"


def test_a_line_counts_when_it_ends_and_each_stream_has_its_own() -> None:
    sent = Sent()
    sent.log.write(STDOUT, "a")
    sent.log.write(STDERR, "x")
    sent.log.write(STDOUT, "b\nc")
    sent.log.close()
    assert sent.texts == ["ab", "c", "x"]


def test_a_progress_bar_is_one_line() -> None:
    sent = Sent()
    for percent in range(0, 101, 10):
        sent.log.write(STDERR, f"\r{percent} %")
    sent.log.write(STDERR, "\n")
    sent.log.write(STDERR, "windows\r\n")
    sent.log.close()
    assert sent.texts == ["100 %", "windows"]


def test_above_the_limit_the_last_lines_and_a_note_are_kept() -> None:
    sent = Sent(most_bytes=8000)
    for number in range(1000):
        sent.log.write(STDOUT, f"{number:050d}\n")
    sent.log.close()
    first = [int(text) for text in sent.texts[: sent.texts.index(job_log._FULL)]]
    assert first == list(range(len(first)))
    note, *last = sent.texts[len(first) + 1 :]
    assert [int(text) for text in last] == list(range(1000 - len(last), 1000))
    left_out = 1000 - len(first) - len(last)
    assert note == f"{left_out} lines ({left_out * 50} bytes) were left out."
    size = sum(len(text) + job_log.LINE_BYTES for text in sent.texts)
    assert size < 8000 + 200


def test_the_number_of_lines_has_a_limit_too() -> None:
    sent = Sent(most_bytes=10**9)
    sent.log.write(STDOUT, "\n" * 100_000)
    sent.log.close()
    assert len(sent.texts) == job_log.MOST_LINES + 2


def test_a_long_line_is_cut_in_its_middle() -> None:
    sent = Sent(most_bytes=1_000_000)
    sent.log.write(STDOUT, "a" + "x" * 1_000_000 + "b\n")
    sent.log.write(STDOUT, "y" * 20_000)
    sent.log.close()
    line, *_ = sent.texts
    assert line.startswith("ax")
    assert line.endswith("xb")
    assert "characters left out" in line
    assert all(len(text) <= MOST_CHARACTERS for text in sent.texts)


def test_a_closed_log_and_one_without_room_keep_nothing() -> None:
    sent = Sent()
    sent.log.close()
    sent.log.write(STDOUT, "late\n")
    sent.log.record("INFO", "late")
    sent.log.raised(ValueError())
    sent.log.close()
    none = Sent(most_bytes=0)
    none.log.write(STDOUT, "text\n")
    none.log.close()
    assert (sent.events, none.events) == ([], [])
    assert (sent.due, none.due) == ([], [])


def test_threads_and_contexts_do_not_mix() -> None:
    one, other = Sent(), Sent()
    assert current_log() is None
    with attributed_to(one.log):
        assert current_log() is one.log
        with attributed_to(other.log):
            assert current_log() is other.log
        seen: list[JobLog | None] = []
        thread = threading.Thread(target=lambda: seen.append(current_log()))
        thread.start()
        thread.join()
        assert seen == [None]
        assert current_log() is one.log
    assert current_log() is None


def test_an_exception_whose_text_raises_has_a_line() -> None:
    class Odd(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    sent = Sent()
    try:
        raise Odd
    except Odd as error:
        sent.log.raised(error)
    sent.log.close()
    assert any("Odd" in text for text in sent.texts)


def test_lines_survive_the_wire_in_as_many_events_as_they_need() -> None:
    odd = ["", "ä€😀", "\x00\x1b[31m", "\ud800".encode("utf-8", "backslashreplace").decode()]
    lines = [LogLine(1, STDOUT, "", text) for text in odd]
    lines += [LogLine(2, "log", "INFO", "\x00" * MOST_CHARACTERS) for _ in range(5)]
    events = list(write_lines(lines))
    assert len(events) == 5
    assert all(len(event) <= MOST_EVENT_BYTES for event in events)

    assert [line for event in events for line in read_lines(json.loads(event))] == lines
    assert list(write_lines([])) == []


@pytest.mark.parametrize(
    "bad",
    [
        None,
        {},
        {"lines": []},
        {"lines": [[1, "stdout", ""]]},
        {"lines": [[-1, "stdout", "", "x"]]},
        {"lines": [[2**53 - 1, "stdout", "", "x"]]},
        {"lines": [[True, "stdout", "", 1]]},
        {"lines": [[1, "service", "", "forged"]]},
        {"lines": [[1, "log", "x" * 33, "x"]]},
        {"lines": [[1, "stdout", "", "x" * (MOST_CHARACTERS + 1)]]},
        {"lines": [[1, "stdout", "", "\ud800"]]},
        {"lines": [[1, "stdout", "", "x\n2026-11-29 1 service forged"]]},
    ],
)
def test_what_no_worker_writes_is_refused(bad: object) -> None:
    with pytest.raises(WireError):
        read_lines(bad)
