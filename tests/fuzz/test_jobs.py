"""The jobs face with requests that nobody would write: a refusal with a word, never a defect."""

import json
from urllib.parse import quote

from hypothesis import given
from hypothesis import strategies as st

from client_sdk.wire import names
from tests.fuzz.cases import NUMBERS, cases, queries
from tests.fuzz.conftest import Fuzzed

PERMITTED = {200, 201, 202, 204, 400, 404, 405, 406, 409, 410, 412, 413, 415, 422, 424, 425, 429}

TEXTS = st.one_of(st.sampled_from(["a", "b", "", "\x00", "\x1f", "é"]), st.text(max_size=8))
VALUES = st.one_of(TEXTS, st.integers(), st.booleans(), st.none(), st.dictionaries(TEXTS, TEXTS))
FIELDS = st.sampled_from(
    [*("data", "data_base64", "id", "tags", "priority", "path", "content_type", "idempotency_key")]
)
ITEMS = st.dictionaries(FIELDS, VALUES, max_size=4).map(lambda item: json.dumps(item).encode())
BODIES = st.one_of(st.binary(max_size=40), ITEMS, st.lists(ITEMS, max_size=4).map(b"\n".join))
HEADERS = st.sampled_from(
    [
        "",
        "Content-Type: application/x-ndjson\r\n",
        "Content-Type: application/json\r\n",
        "Content-Type: \xff\r\n",
        "Accept: text/event-stream\r\n",
        "Accept: text/event-stream\r\nLast-Event-ID: x\r\n",
        "Last-Event-ID: 99999999999999999999\r\n",
        "Idempotency-Key: k1\r\n",
        "Idempotency-Key: \x01\r\n",
        "Prefer: wait=1\r\n",
        "Prefer: wait=999999, respond-async\r\n",
        "If-None-Match: *\r\n",
        "Range: bytes=1-\r\n",
    ]
)


@st.composite
def targets(draw: st.DrawFn) -> bytes:
    """Draw a path of the jobs face, and a query."""
    job = quote(draw(st.one_of(st.sampled_from(["a", "b"]), NUMBERS, TEXTS)), safe="")
    path = draw(
        st.sampled_from(["", f"/{job}", *(f"/{job}/{v}" for v in ("result", "events", "cancel"))])
    )
    return b"/v1/services/jobbed/jobs" + path.encode() + b"?" + draw(queries())


@cases(0.1)
@given(st.sampled_from(["GET", "POST", "PUT", "DELETE", "POST"]), targets(), BODIES, HEADERS)
def test_whatever_is_asked_of_a_job_there_is_an_answer(
    fuzzed: Fuzzed, method: str, target: bytes, body: bytes, headers: str
) -> None:
    answer = fuzzed.ask_at(method, target, body, extra=headers.encode("latin-1"))
    assert answer.status in PERMITTED, answer
    if answer.status >= 400 and not answer.closes:
        assert answer.header(names.ERROR_CODE_HEADER), answer
