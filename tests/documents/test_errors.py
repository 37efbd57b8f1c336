"""docs/errors.md is complete: every word and every close code, and what to do about it."""

import re
from pathlib import Path

import pytest

from client_sdk.wire.codes import CloseCode, Code
from queue_service import errors
from queue_service.error_advice import QUOTAS
from queue_service.web.statuses import STATUS

ROW = re.compile(r"^\| (.+?) \| (.*?) ?\| (.*) \| (.*?) ?\|$", re.MULTILINE)
DOCUMENT = Path(__file__).parents[2] / "docs" / "errors.md"
#: Words of a closed WebSocket or of an outcome, which no request is answered with.
ONLY_OF_SOCKETS = {Code.BAD_MESSAGE}


def rows() -> list[tuple[str, str, str]]:
    """Give (status or close code, word, what to do) of each row."""
    found = ROW.findall(DOCUMENT.read_text())
    return [(status, word.strip(" `"), to_do.strip()) for status, word, _, to_do in found]


@pytest.mark.parametrize("code", sorted(set(Code) - ONLY_OF_SOCKETS))
def test_every_word_has_a_row_that_says_what_to_do(code: Code) -> None:
    told = [to_do for status, word, to_do in rows() if word == code and len(status) != 4]
    assert told, code
    assert all(told), code


@pytest.mark.parametrize("code", list(CloseCode), ids=lambda code: code.name)
def test_every_close_code_has_a_row_that_says_what_to_do(code: CloseCode) -> None:
    told = [to_do for status, _, to_do in rows() if status == str(int(code))]
    assert told
    assert all(told)


@pytest.mark.parametrize("kind", STATUS, ids=lambda kind: kind.__name__)
def test_every_error_has_a_row_with_its_status(kind: type[errors.ServiceError]) -> None:
    told = {(status.split(",")[0].strip(), word) for status, word, _ in rows()}
    assert (str(STATUS[kind]), str(kind.code)) in told


@pytest.mark.parametrize("name", QUOTAS)
def test_every_limit_says_what_helps(name: str) -> None:
    sentence = QUOTAS[name]
    assert re.search(r"; (put|read|use|end|send|have) ", sentence), sentence


@pytest.mark.parametrize(
    "error",
    [
        errors.Unauthorized(),
        errors.CredentialEnded(),
        errors.NoAdmin(),
        errors.Forbidden("svc", ("read",)),
        errors.HostNotAllowed("example.com"),
        errors.OriginNotAllowed("https://example.com"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_client_that_is_kept_out_learns_what_was_expected_and_what_helps(
    error: errors.ServiceError,
) -> None:
    sentence = str(error)
    helps = ("penstock tokens create", "send it again", "PENSTOCK_", "--admin-token")
    assert any(word in sentence for word in helps), sentence
