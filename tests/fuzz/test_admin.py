"""The admin API with descriptions and paths that nobody would write: a refusal, never a defect."""

import json
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_sdk.wire import names
from tests.fuzz.cases import NUMBERS, cases, queries
from tests.fuzz.conftest import Fuzzed
from tests.running import ADMIN_TOKEN

PERMITTED = {200, 201, 202, 204, 400, 401, 403, 404, 405, 409, 412, 413, 422, 428, 429}
#: The services that these requests may make.
MADE = ("made-1", "made-2")
FIELDS = [
    *("name", "token", "token_sha256", "input", "sink", "memory", "sink_memory_ratio"),
    *("max_delivery", "max_idle", "dead_message_policy", "max_length", "max_payload_size_kb"),
    *("auto_evict", "scopes", "services", "expires_in_s", "data", "tags", "priority", "ids", "all"),
    *("owner", "limits", "rate_per_s", "burst", "in_line", "running", "unread", "fair"),
    *("retry", "max_attempts", "first_pause_s", "factor", "longest_pause_s", "jitter"),
    *("worker_token", "worker_token_sha256"),
]

TEXTS = st.one_of(
    st.sampled_from(["", "made-1", "Rear", "Park", "1s", "-1s", "read", "*", "\ud800", "\x00"]),
    st.sampled_from(["submit", "all", "team-a", "\x1e", "a@b", ".."]),
    st.text(max_size=9),
)
SCALARS = st.one_of(
    TEXTS, st.integers(), st.floats(), st.booleans(), st.none(), st.sampled_from([0, 1, 8, 2**63])
)
NAMED = st.sampled_from(FIELDS)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(NAMED, TEXTS), inner, max_size=3)
    ),
    max_leaves=6,
)
#: Bodies that are too long to be shown, by name.
LONG = {"deep lists": b"[" * 30_000, "deep objects": b'{"a":' * 30_000, "a number": b"9" * 5000}
BODIES = st.one_of(
    st.dictionaries(NAMED, VALUES, max_size=4).map(lambda value: json.dumps(value).encode()),
    VALUES.map(lambda value: json.dumps(value).encode()),
    st.binary(max_size=30),
    st.sampled_from([b"", b'"\xff"']),
    st.sampled_from(list(LONG)),
)
LETTERS = "/v1/services/{}/dead-letters"


@st.composite
def paths(draw: st.DrawFn) -> bytes:
    """Draw a path of the admin API, more or less."""
    service = draw(st.sampled_from([*MADE, "svc", "nobody"]))
    one = draw(st.one_of(NUMBERS, TEXTS, st.just("1"))).encode("utf-8", "replace").decode()
    found = draw(
        st.sampled_from(
            [
                "/v1/services",
                f"/v1/services/{draw(st.sampled_from(MADE))}",
                f"/v1/services/{draw(st.sampled_from(MADE))}/stop",
                f"/v1/services/{draw(st.sampled_from(MADE))}/start",
                f"/v1/services/{draw(st.sampled_from(MADE))}/pause",
                f"/v1/services/{draw(st.sampled_from(MADE))}/resume",
                f"/v1/services/made-{quote(one)}",
                "/v1/tokens",
                f"/v1/tokens/{quote(one)}",
                LETTERS.format(service),
                f"{LETTERS.format(service)}/replay",
                f"{LETTERS.format(service)}/{quote(one)}",
                f"{LETTERS.format(service)}/{quote(one)}/replay",
                "/api/v1/servicediscovery/upstreams/" + quote(one),
                "/v1/" + quote(one),
            ]
        )
    )
    return found.encode()


@pytest.fixture(scope="module", autouse=True)
def undone(fuzzed: Fuzzed) -> Iterator[None]:
    """Delete what these requests have made."""
    yield
    answer = fuzzed.ask_at("GET", b"/v1/services", token=ADMIN_TOKEN)
    for service in json.loads(answer.body)["services"]:
        if service["name"].startswith("made-"):
            path = f"/v1/services/{quote(service['name'])}".encode()
            assert fuzzed.ask_at("DELETE", path, token=ADMIN_TOKEN).status == 200
    for token in json.loads(fuzzed.ask_at("GET", b"/v1/tokens", token=ADMIN_TOKEN).body)["tokens"]:
        path = f"/v1/tokens/{token['id']}".encode()
        assert fuzzed.ask_at("DELETE", path, token=ADMIN_TOKEN).status == 204


@cases(0.1)
@given(
    st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE"]),
    st.tuples(paths(), queries()).map(b"?".join),
    BODIES,
    st.sampled_from(["", "If-Match: *\r\n", 'If-Match: "1"\r\n', "If-Match: x\r\n"]),
)
def test_whatever_an_operator_asks_there_is_an_answer(
    fuzzed: Fuzzed, method: str, target: bytes, body: bytes | str, condition: str
) -> None:
    data = LONG[body] if isinstance(body, str) else body
    answer = fuzzed.ask_at(method, target, data, extra=condition.encode(), token=ADMIN_TOKEN)
    assert answer.status in PERMITTED, answer
    if answer.status >= 400 and not answer.closes:
        assert answer.header(names.ERROR_CODE_HEADER), answer
