"""Error answers become typed errors that say what a person and a program need."""

import json
import pickle

import pytest

from client_sdk import errors
from client_sdk.refusals import MAX_SENTENCE_LENGTH, from_answer
from client_sdk.wire.codes import Code
from client_sdk.wire.names import ERROR_CODE_HEADER


@pytest.mark.parametrize("code", list(Code))
def test_every_code_of_the_contract_has_an_error_of_its_own(code: Code) -> None:
    error = from_answer(418, {ERROR_CODE_HEADER: code}, b"why")
    assert type(error).code == code
    assert (error.code, error.status, error.sentence) == (code, 418, "why")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.BadParameter),
        (401, errors.Unauthorized),
        (403, errors.Forbidden),
        (404, errors.NotFound),
        (413, errors.FrameTooBig),
        (429, errors.QueueFull),
        (502, errors.Unavailable),
        (503, errors.Unavailable),
        (418, errors.Refused),
        (500, errors.ServerFault),
        (301, errors.ServerFault),
    ],
)
def test_an_answer_without_a_code_is_known_by_its_status(
    status: int, kind: type[errors.QueueError]
) -> None:
    assert type(from_answer(status, {})) is kind


def test_a_redirect_names_the_address_that_it_leads_to() -> None:
    headers = {"Location": "https://u:secret@queue/", "Content-Type": "text/html"}
    error = from_answer(308, headers, b"<html>Permanent Redirect</html>")
    assert "redirects to https://queue/, and redirects are not followed" in error.sentence


def test_a_json_error_gives_its_message() -> None:
    body = json.dumps({"code": "QUEUE_FULL", "message": "the queue holds 5 of 5"}).encode()
    error = from_answer(429, {"Content-Type": "application/json; charset=utf-8"}, body)
    assert error.sentence == "the queue holds 5 of 5"


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"other": 1}', b"\xff"])
def test_json_of_another_shape_is_quoted_as_it_is(body: bytes) -> None:
    error = from_answer(500, {"Content-Type": "application/json"}, body)
    assert error.sentence == body.decode(errors="replace")


def test_a_gateways_long_page_is_cut() -> None:
    error = from_answer(502, {}, b"<p>" * 10_000)
    assert len(error.sentence) == MAX_SENTENCE_LENGTH


def test_an_error_reads_as_code_status_sentence_and_url() -> None:
    error = from_answer(404, {ERROR_CODE_HEADER: "NO_SUCH_SERVICE"}, b"no x", url="http://q")
    assert str(error) == "NO_SUCH_SERVICE 404: no x (http://q)"


def test_a_problem_tells_more_than_its_sentence() -> None:
    problem = {
        "type": "urn:x",
        "status": 409,
        "code": "NO_RESULT",
        "detail": "no",
        "state": "failed",
    }
    headers = {"Content-Type": "application/problem+json", ERROR_CODE_HEADER: "NO_RESULT"}
    error = from_answer(409, headers, json.dumps(problem).encode())
    assert (type(error), error.sentence) == (errors.NoResult, "no")
    assert error.fields == {"state": "failed"}
    for strange in (b"[]", b"{", b"[" * 100_000):
        assert from_answer(409, headers, strange).fields == {}


def test_an_error_survives_pickling() -> None:
    error = errors.FrameTooBig("too big", status=413, url="http://q", fields={"limit_bytes": 1})
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy)) == (errors.FrameTooBig, str(error))
    assert copy.fields == {"limit_bytes": 1}
