"""Paths that a job names for an HTTP server: refused, or sent so that nobody reads another one."""

import posixpath
from urllib.parse import unquote, urlsplit

from hypothesis import given
from hypothesis import strategies as st

from inference_worker.engines.upstream.sub_path import BadPath, encoded_path
from tests.fuzz.cases import cases

PIECES = st.one_of(
    st.sampled_from(
        [
            *("..", ".", "/", "//", "\\", ";", "%", "%2e", "%2E%2e", "%2f", "%252f", "%5c", "%00"),
            *("?", "#", "@", ":", "v1", "admin", "a;b", "..;", "\uff0e", "\uff0f", "\u2024", " "),
            *("\t", "\r\n", "\ud800", "%c0%ae", "http://x"),
        ]
    ),
    st.text(max_size=3),
)
PATHS = st.lists(PIECES, max_size=7).map("".join)


@cases(0.1)
@given(PATHS, st.sampled_from([None, ("/v1/*",), ("/v1/chat", "/a/*"), ()]))
def test_a_path_is_refused_or_stays_where_it_was_checked(
    path: str, allowed: tuple[str, ...] | None
) -> None:
    try:
        sent = encoded_path(path, allowed=allowed)
    except BadPath:
        return
    assert sent.isascii()
    if not sent:
        return
    parts = urlsplit(f"http://host/base{sent}")
    assert (parts.hostname, parts.query, parts.fragment) == ("host", "", "")
    reading = sent
    for _ in range(10):
        # As servers fold it, cut it at `;`, and undo its escapes again and again.
        plain = "/".join(segment.partition(";")[0] for segment in reading.split("/"))
        for text in (reading, plain, reading.replace("\\", "/")):
            assert posixpath.normpath(f"/base{text}").startswith("/base/"), (path, text)
        if allowed is not None:
            assert any(
                reading.startswith(one[:-1]) if one.endswith("/*") else reading == one
                for one in allowed
            ), (path, reading)
        reading = unquote(reading, errors="surrogateescape")
