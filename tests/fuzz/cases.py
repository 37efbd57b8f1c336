"""How many cases there are, and what they are made of."""

import os
from urllib.parse import quote_from_bytes

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from client_sdk.wire import names

#: Cases of one run of everything; `make fuzz` asks for many more.
SHORT_RUN = 400
CASES = int(os.environ.get("PENSTOCK_FUZZ_CASES", SHORT_RUN))


def cases(share: float, *, steps: int = 50) -> settings:
    """Return the settings of a test that has this share of the cases.

    The short run is the same each time, so that it never fails for what nobody has changed.
    """
    short = CASES <= SHORT_RUN
    return settings(
        max_examples=max(1, round(CASES * share)),
        stateful_step_count=steps,
        deadline=None,
        derandomize=short,
        database=None if short else settings.default.database,  # type: ignore[union-attr]
        phases=[phase for phase in Phase if phase is not Phase.explain],
        suppress_health_check=list(HealthCheck),
    )


NUMBERS = st.one_of(
    st.sampled_from([-2, -1, 0, 1, 2, 10, 1000, 10_001, 2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64]),
    st.integers(),
).map(str)
DURATIONS = st.sampled_from(
    ["0", "0s", "1ms", "5s", "1m0s", "1.5s", ".5s", "-1s", "1e9", "soon", ""]
)
BOOLEANS = st.sampled_from(["true", "false", "True", "1", ""])
INDEXES = st.lists(NUMBERS, max_size=4).map(",".join)
VALUES = st.one_of(
    NUMBERS, DURATIONS, BOOLEANS, INDEXES, st.text(max_size=20), st.binary(max_size=20)
)
QUERY_NAMES = st.one_of(
    st.sampled_from(
        [
            names.INDEX, names.INDEXES, names.LENGTH, names.TIMEOUT, names.RAW, names.AUTO_DELETE,
            names.PRIORITY, names.WATCH, names.WINDOW, names.INDEX_ONLY, names.AUTO_COMMIT,
            names.ATTRIBUTES, names.SEARCH, names.COUNT, names.NEGATIVE, names.TRUNCATE,
            names.REQUEST_ID_TAG, "colour",
        ]
    ),
    st.text(max_size=8),
    st.binary(max_size=8),
)  # fmt: skip
#: What a parameter should be, and what comes instead.
FITTING = {
    names.INDEX: NUMBERS,
    names.INDEXES: INDEXES,
    names.LENGTH: NUMBERS,
    names.TIMEOUT: DURATIONS,
    names.PRIORITY: NUMBERS,
    names.WINDOW: NUMBERS,
    names.REQUEST_ID_TAG: st.text("ab", min_size=1, max_size=2),
    "colour": st.sampled_from(["red", "blue"]),
}


@st.composite
def queries(draw: st.DrawFn) -> bytes:
    """Draw a query, percent-encoded or not quite."""
    parts: list[bytes] = []
    for _ in range(draw(st.integers(0, 6))):
        name = draw(QUERY_NAMES)
        fitting = FITTING.get(name, BOOLEANS) if isinstance(name, str) else VALUES
        value = draw(fitting if draw(st.integers(0, 3)) else VALUES)
        parts.append(_quoted(name) + b"=" + _quoted(value))
    return b"&".join(parts)


def _quoted(text: str | bytes) -> bytes:
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return quote_from_bytes(data, safe="/,").encode()


METHODS = st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE"] * 4 + [b"PATCH", b"HEAD", b"BREW"])
SUFFIXES = st.one_of(
    st.sampled_from([b"", b"", b"", b"/sink", b"/sink", b"/", b"/sink/a", b"/a/b"]),
    st.binary(max_size=10).map(lambda data: b"/" + quote_from_bytes(data).encode()),
)
HEADER_NAMES = st.sampled_from(
    [
        names.USER_HEADER, names.GROUP_HEADER, names.PRIORITY_HEADER, names.IDEMPOTENCY_HEADER,
        "Content-Type", "Accept", "Upgrade", "Expect", "X-Forwarded-For", "Range",
    ]
)  # fmt: skip
HEADER_VALUES = st.one_of(
    st.sampled_from(
        [names.PROTOBUF, names.JSON, names.FLATBUFFERS, "*/*", "websocket", "u1", "eas", "svc", "1"]
    ).map(str.encode),
    st.binary(max_size=30).map(lambda data: data.translate(None, b"\r\n\0")),
)
HEADERS = st.lists(st.tuples(HEADER_NAMES, HEADER_VALUES), max_size=4)
BODIES = st.one_of(
    st.binary(max_size=50),
    st.binary(max_size=4).map(lambda data: data * 3000),
    st.text(max_size=20).map(
        lambda text: f"_code_={text}&_reason_={text}".encode("utf-8", "replace")
    ),
)
