"""A result says whether its job failed."""

from client_sdk import FailureType, Frame, JobError, error_of


def test_a_result_is_no_error() -> None:
    assert error_of(Frame(1, {"requestId": "r", "user": "ann"}, b"positive")) is None


def test_an_error_has_its_word_its_number_and_its_sentence() -> None:
    tags = {"requestId": "r", "lastCode": "400", "errorCode": "BadInput"}
    expected = JobError("BadInput", "400", "no number", FailureType.BAD_INPUT)
    assert error_of(Frame(1, tags, b"no number")) == expected
    tags["errorType"] = "oom"
    told = error_of(Frame(1, tags, b"no number"))
    assert told is not None
    assert told.type is FailureType.OOM
