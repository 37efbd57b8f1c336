"""What the end of a job means for its delivery."""

import pytest

from client_sdk.wire.worker import Completion, Delivery, Failure, Rejection, Result
from inference_worker.answers import answer_to, cut_short, status_of, too_big
from inference_worker.engines.engine import Failed, Finished

FIRST = Delivery(7, 1, "r", b"", max_delivery=5)
LAST = Delivery(7, 5, "r", b"", max_delivery=5)


def test_an_output_goes_to_the_sink() -> None:
    end = Finished(b"out", {"seed": "1"})
    assert answer_to(FIRST, end) == Completion(7, 1, Result(b"out", {"seed": "1"}))


def test_an_empty_output_leaves_nothing_in_the_sink() -> None:
    assert answer_to(FIRST, Finished(b"")) == Completion(7, 1, None)


def test_a_failure_goes_out_again_while_attempts_are_left() -> None:
    assert answer_to(FIRST, Failed("503", "busy")) == Rejection(7, 1, "503", "busy", "transient")


def test_the_last_failure_is_the_clients_answer() -> None:
    tags = {"lastCode": "500", "errorCode": "ValueError", "errorType": "internal"}
    answer = answer_to(LAST, Failed("ValueError", "ValueError: x"))
    failure = Failure("ValueError", "ValueError: x", "internal")
    assert answer == Completion(7, 5, Result(b"ValueError: x", tags), failure)


def test_the_data_of_the_last_failure_is_the_answer_in_place_of_its_message() -> None:
    tags = {"lastCode": "503", "errorCode": "503", "errorType": "transient"}
    failed = Failed("503", "the server answered 503", data=b"<html>")
    rejection = Rejection(7, 1, "503", "the server answered 503", "transient")
    assert answer_to(FIRST, failed) == rejection
    failure = Failure("503", "the server answered 503", "transient")
    assert answer_to(LAST, failed) == Completion(7, 5, Result(b"<html>", tags), failure)


def test_only_a_failure_that_is_longer_than_a_sentence_can_be_cut() -> None:
    tags = {"lastCode": "503", "errorCode": "503"}
    long, short = Result(b"x" * 5000, tags), Result(b"x" * 1000, tags)
    assert cut_short(Completion(7, 5, long)) == Completion(7, 5, short)
    assert cut_short(Completion(7, 5, short)) is None
    assert cut_short(Completion(7, 5, Result(b"x" * 5000))) is None
    assert cut_short(Rejection(7, 1, "503", "busy")) is None


def test_a_bad_input_is_answered_at_the_first_attempt_and_leaves_no_dead_letter() -> None:
    tags = {"lastCode": "400", "errorCode": "BadInput", "errorType": "bad_input"}
    answer = answer_to(FIRST, Failed("BadInput", "no number", retryable=False))
    assert answer == Completion(7, 1, Result(b"no number", tags))


def test_a_job_that_never_began_goes_out_again_even_at_its_last_attempt() -> None:
    assert isinstance(answer_to(LAST, Failed("Shutdown", "leaving")), Rejection)


def test_without_a_limit_no_attempt_is_the_last() -> None:
    unlimited = Delivery(7, 900, "r", b"", max_delivery=0)
    assert isinstance(answer_to(unlimited, Failed("503", "busy")), Rejection)


def test_a_result_that_is_too_big_names_its_size_and_the_setting() -> None:
    failed = too_big(Completion(7, 1, Result(bytes(9000), {})))
    assert (failed.code, failed.retryable) == ("ResultTooBig", False)
    assert "9000 bytes" in failed.message
    assert "max_payload_size_kb" in failed.message


@pytest.mark.parametrize(
    ("code", "status"), [("503", "503"), ("BadInput", "400"), ("KeyError", "500"), ("٣", "500")]
)
def test_the_last_code_is_a_number_whatever_the_failure_is_called(code: str, status: str) -> None:
    assert status_of(code) == status
