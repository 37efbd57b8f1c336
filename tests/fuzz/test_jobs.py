"""The jobs API with requests that nobody would write: a refusal with a word, never a defect."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_sdk.wire import names
from tests.fuzz.cases import BOOLEANS, DURATIONS, NUMBERS, cases, queries
from tests.fuzz.conftest import Fuzzed
from tests.running import ADMIN_TOKEN, TOKEN

PERMITTED = {
    200,
    201,
    202,
    204,
    400,
    403,
    404,
    405,
    406,
    409,
    410,
    412,
    413,
    415,
    422,
    424,
    425,
    429,
}

TEXTS = st.one_of(st.sampled_from(["a", "b", "", "\x00", "\x1f", "é"]), st.text(max_size=8))
VALUES = st.one_of(
    TEXTS, DURATIONS, st.integers(), st.booleans(), st.none(), st.dictionaries(TEXTS, TEXTS)
)
#: Options of a job, and what they should be.
OPTIONS: dict[str, st.SearchStrategy[str]] = {
    "max_attempts": NUMBERS,
    "retry_pause": DURATIONS,
    "retry_factor": NUMBERS,
    "retry_longest_pause": DURATIONS,
    "retry_jitter": st.sampled_from(["0", "0.5", "1", "1.1", "nan", "-0"]),
    "not_before": DURATIONS,
    "start_by": DURATIONS,
    "finish_by": DURATIONS,
    "run_timeout": DURATIONS,
    "wait": DURATIONS,
    "events": BOOLEANS,
    "path": st.sampled_from(["v1/chat", "..", "a/../b", "%2e%2e", "\\", "a;b", "//", "/"]),
    "tag": st.sampled_from(["a:b", ":", "a", "owner:x", "requestId:x"]),
    "owner": st.sampled_from(["", "a", "red", "blue", "\x1e", "*"]),
    "state": st.sampled_from(["queued", "running", "failed", "", "lost"]),
    "limit": NUMBERS,
    "after": TEXTS,
}
FIELDS = st.sampled_from(
    [
        *("input", "input_base64", "id", "tags", "priority", "path", "content_type"),
        *("idempotency_key", *OPTIONS),
    ]
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
    """Draw a path of the jobs API, and a query."""
    job = quote(draw(st.one_of(st.sampled_from(["a", "b"]), NUMBERS, TEXTS)), safe="")
    path = draw(
        st.sampled_from(["", f"/{job}", *(f"/{job}/{v}" for v in ("result", "events", "cancel"))])
    )
    query = draw(st.one_of(queries(), options()))
    return b"/v1/services/jobbed/jobs" + path.encode() + b"?" + query


@st.composite
def options(draw: st.DrawFn) -> bytes:
    """Draw a query of options, most of which fit."""
    chosen = draw(st.lists(st.sampled_from(list(OPTIONS)), max_size=4))
    pairs = [(name, draw(OPTIONS[name] if draw(st.integers(0, 3)) else TEXTS)) for name in chosen]
    return urlencode(pairs, errors="replace").encode()


@pytest.fixture(scope="module")
def tokens(fuzzed: Fuzzed) -> Iterator[list[str]]:
    """The service's own token, those of two teams, and one that may only submit."""
    found, ids = [TOKEN], []
    for owner, scopes in (("red", "submit read cancel"), ("blue", "submit read"), ("", "submit")):
        wish = {"services": ["jobbed"], "owner": owner, "scopes": scopes.split()}
        body = json.dumps(wish).encode()
        answer = fuzzed.ask_at("POST", b"/v1/tokens", body, token=ADMIN_TOKEN)
        assert answer.status == 201, answer
        made = json.loads(answer.body)
        found.append(made["token"])
        ids.append(made["id"])
    yield found
    for token_id in ids:
        path = f"/v1/tokens/{token_id}".encode()
        # The requests of the admin API may have revoked it.
        assert fuzzed.ask_at("DELETE", path, token=ADMIN_TOKEN).status in (204, 404)


@dataclass(frozen=True)
class Request:
    """A request as it was drawn; token: which of the fixture's."""

    method: str
    target: bytes
    body: bytes
    headers: str
    token: int


METHODS = st.sampled_from(["GET", "POST", "PUT", "DELETE", "POST"])


@cases(0.1)
@given(st.builds(Request, METHODS, targets(), BODIES, HEADERS, st.integers(0, 3)))
def test_whatever_is_asked_of_a_job_there_is_an_answer(
    fuzzed: Fuzzed, tokens: list[str], asked: Request
) -> None:
    extra = asked.headers.encode("latin-1")
    answer = fuzzed.ask_at(
        asked.method, asked.target, asked.body, extra=extra, token=tokens[asked.token]
    )
    assert answer.status in PERMITTED, answer
    if answer.status >= 400 and not answer.closes:
        assert answer.header(names.ERROR_CODE_HEADER), answer
