"""What the worker's log says about answers is said once."""

import logging

import pytest

from inference_worker.log_messages import NO_RESULT, LogOnce, with_code


def test_a_code_is_not_said_twice() -> None:
    assert with_code("ValueError", "ValueError: no number") == "ValueError: no number"
    assert with_code("503", "the device is busy") == "503: the device is busy"


def test_only_the_first_job_without_a_result_has_a_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    once = LogOnce(logging.getLogger("test"))
    once.info(NO_RESULT, "r-1")
    once.info(NO_RESULT, "r-2")
    (line,) = caplog.messages
    assert line.startswith("r-1 has no result")
