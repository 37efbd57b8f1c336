"""Log lines: nothing that a client sends begins one, or steers the terminal that shows it."""

import io
import json
import logging
from collections.abc import Callable

import pytest

from inference_worker.logs import LogSettings
from queue_service.process.logs import set_up_logging

SENT = "key\n2026-01-01 00:00:00,000 INFO    queue_service: forged\x1b[2J\u202e\x9b\r\u2028forged"


def _service(as_json: bool) -> None:
    set_up_logging("INFO", as_json=as_json)


def _worker(as_json: bool) -> None:
    LogSettings("INFO", as_json, "w\nforged").apply()


@pytest.fixture
def root() -> "logging.Logger":
    """Give the root logger its handlers back after the test."""
    return logging.getLogger()


@pytest.mark.parametrize("set_up", [_service, _worker])
@pytest.mark.parametrize("as_json", [False, True])
def test_no_text_of_a_client_begins_a_line(
    set_up: Callable[[bool], None], as_json: bool, root: logging.Logger
) -> None:
    before = root.handlers[:], root.level
    seen = io.StringIO()
    try:
        set_up(as_json)
        (handler,) = root.handlers
        assert isinstance(handler, logging.StreamHandler)
        handler.setStream(seen)
        logging.getLogger("queue_service").info("asked for %s", SENT)
        try:
            raise ValueError(SENT)
        except ValueError:
            logging.getLogger("queue_service").exception("it failed", stack_info=True)
    finally:
        root.handlers[:], _ = before
        root.setLevel(before[1])
    text = seen.getvalue()
    assert not set("\x1b\x9b\u202e\u2028\r") & set(text)
    first, second, *more = text.splitlines()
    if as_json:
        assert not more
        assert json.loads(first)["message"] == f"asked for {SENT}"
        assert SENT in json.loads(second)["exception"]
    else:
        assert r"asked for key\n2026-01-01" in first
        assert more, "a traceback keeps its lines"
        assert all(line.startswith("  ") for line in more)
