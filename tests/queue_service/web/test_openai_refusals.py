"""Errors of engines and servers in OpenAI's format, as plain values."""

import json
from typing import Any

import pytest

from client_sdk.wire import names
from queue_service.store.entry import Entry
from queue_service.store.ticket import Crew, Seen, State
from queue_service.web.openai.refusals import ERRORS, failure
from queue_service.web.routes import TABLE

OVERFLOW = "This model's maximum context length is 4096 tokens. However, you requested 5000."

#: A job that has failed.
SEEN = Seen(
    request_id="r",
    ticket={"state": State.FAILED},
    index=None,
    held=False,
    attempt=1,
    uid="",
    ahead=0,
    stored_at_ms=1,
    result_index=1,
    result_tags={},
    lane=0,
    crew=Crew(0, 0, 0),
    now_ms=2,
)


def refused(code: str, data: bytes, status: str = "", kind: str = "") -> Any:
    """Return the status and the error of a job that has failed with this result."""
    tags = {names.LAST_CODE_TAG: status or code, names.ERROR_CODE_TAG: code}
    if kind:
        tags[names.ERROR_TYPE_TAG] = kind
    entry = Entry(1, "r", json.dumps(tags).encode(), data, stored_at_ms=1)
    found = failure(SEEN, entry)
    return found.status, found.body["error"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            {"error": {"message": "no", "type": "t", "param": "p", "code": "c", "more": 1}},
            {"message": "no", "type": "t", "param": "p", "code": "c", "more": 1},
        ),
        (
            {"error": {"message": "no", "type": "BadRequestError", "param": None, "code": 400}},
            {"message": "no", "type": "BadRequestError", "param": None, "code": 400},
        ),
        (
            {"object": "error", "message": "no", "type": "t", "param": None, "code": 40001},
            {"message": "no", "type": "t", "param": None, "code": 40001},
        ),
        (
            {"detail": "no"},
            {"message": "no", "type": "invalid_request_error", "param": None, "code": "400"},
        ),
        (
            {"detail": [{"loc": ["body", "top_p"], "msg": "too big"}, {"msg": "odd"}]},
            {
                "message": "top_p: too big; odd",
                "type": "invalid_request_error",
                "param": "top_p",
                "code": "400",
            },
        ),
        (
            {"error": "no", "error_type": "validation"},
            {
                "message": "no",
                "type": "invalid_request_error",
                "param": None,
                "code": "400",
                "error_type": "validation",
            },
        ),
        (
            {"detail": {"strange": 1}},
            {
                "message": '{"detail": {"strange": 1}}',
                "type": "invalid_request_error",
                "param": None,
                "code": "400",
            },
        ),
        (
            {"error": {"message": OVERFLOW, "type": "BadRequestError", "param": None, "code": 400}},
            {
                "message": OVERFLOW,
                "type": "BadRequestError",
                "param": None,
                "code": "context_length_exceeded",
            },
        ),
    ],
)
def test_the_error_of_a_server_passes_through(body: Any, expected: Any) -> None:
    status, error = refused("400", json.dumps(body).encode())
    assert status == 400
    assert error == {**expected, "failure_type": "bad_input"}


@pytest.mark.parametrize(
    "said",
    [
        OVERFLOW,
        "The input (70 tokens) is longer than the model's context length (64 tokens).",
        "the request exceeds the available context size. try increasing it",
        "`inputs` tokens + `max_new_tokens` must be <= 64. Given: 70",
    ],
)
def test_a_request_that_does_not_fit_has_openai_s_code(said: str) -> None:
    for code, status in (("400", ""), ("422", ""), ("BadInput", "400")):
        assert refused(code, said.encode(), status)[1]["code"] == "context_length_exceeded"
    assert refused("500", said.encode())[1]["code"] == "500"


@pytest.mark.parametrize("body", [b"", b"<html>", b"[" * 9000, b'{"error": []}', b"\xff", b"7"])
def test_an_error_that_cannot_be_read_is_the_message(body: bytes) -> None:
    status, error = refused("404", body)
    assert (status, error["type"], error["code"]) == (404, "invalid_request_error", "404")
    assert error["message"] == body.decode("utf-8", "replace")[:8192]


def test_a_status_of_a_server_stays_and_a_failure_without_one_gets_it_from_its_type() -> None:
    assert refused("500", b"oops", kind="transient")[0] == 500
    assert refused("OSError", b"oops", "500", kind="transient")[0] == 503
    assert refused("UpstreamError", b'{"error": {"message": "no", "code": "c"}}', "500") == (
        500,
        {
            "message": "no",
            "type": "server_error",
            "param": None,
            "code": "c",
            "failure_type": "internal",
        },
    )


def test_our_engines_name_the_parameter() -> None:
    status, error = refused("BadInput", b"top_p: expected a number, got x", "400")
    assert (status, error["param"], error["code"]) == (400, "top_p", "BadInput")
    assert refused("BadInput", b"Look: expected", "400")[1]["param"] is None


def test_every_path_below_v1_but_the_other_apis_is_answered_in_openai_s_format() -> None:
    ours = {route.path for route in TABLE if route.path.startswith("/v1/")}
    inside = {path for path in ours if ERRORS.paths.match(path)}
    assert {path.split("/")[2] for path in inside} == {
        "audio",
        "batches",
        "chat",
        "completions",
        "embeddings",
        "models",
        "files",
        "images",
        "videos",
    }
    for path in ("/v1", "/v1/responses", "/v1/servicesx", "/v1/audio/voices"):
        assert ERRORS.paths.match(path)
    for path in ("/v1x", "/api/v1/models", "/v1/services", "/v1/services/a/b", "/v1/tokens/x"):
        assert not ERRORS.paths.match(path)
    for path in ("/v1/audit", "/v1/usage", "/v1/overview/events"):
        assert not ERRORS.paths.match(path)
