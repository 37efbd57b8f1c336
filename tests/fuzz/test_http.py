"""The EAS API with requests that nobody would write: a refusal with a word, never a defect."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from client_sdk.wire import names
from tests.fuzz.cases import BODIES, HEADERS, METHODS, SUFFIXES, cases, queries
from tests.fuzz.conftest import Fuzzed
from tests.fuzz.line import HANDSHAKE

PERMITTED = {101, 200, 204, 400, 404, 405, 406, 409, 413, 417, 429}


@dataclass(frozen=True)
class Request:
    """A request as it was drawn; shakes_hands: it asks for a WebSocket."""

    method: bytes
    suffix: bytes
    query: bytes
    headers: list[tuple[str, bytes]]
    body: bytes
    shakes_hands: bool


@cases(0.45)
@given(st.builds(Request, METHODS, SUFFIXES, queries(), HEADERS, BODIES, st.booleans()))
def test_whatever_is_asked_there_is_an_answer(fuzzed: Fuzzed, asked: Request) -> None:
    extra = b"".join(name.encode() + b": " + value + b"\r\n" for name, value in asked.headers)
    if asked.shakes_hands and asked.method == b"GET":
        extra += HANDSHAKE
    target = b"svc" + asked.suffix + b"?" + asked.query
    answer = fuzzed.ask(asked.method, target, asked.body, extra=extra)
    assert answer.status in PERMITTED, answer
    assert answer.header("Retry-After") is None
    if answer.status == 101:
        fuzzed.line.close()
    elif answer.status >= 400 and not answer.closes:
        assert answer.header(names.ERROR_CODE_HEADER), answer
    if answer.status == 204:
        assert answer.body == b""


@cases(0.05)
@given(st.binary(max_size=300))
def test_whatever_is_written_the_next_request_is_served(fuzzed: Fuzzed, data: bytes) -> None:
    with fuzzed.new_line() as line:
        answer = line.ask(data + b"\r\n\r\n", is_last=True)
    assert answer.status in {0, *PERMITTED, 401, 501, 505}, answer
    assert fuzzed.ask("GET", "svc?_count_=true").status == 200
