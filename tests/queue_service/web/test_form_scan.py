"""A form that passes by: its texts are read, and only its model may change."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queue_service.errors import BadParameter
from queue_service.web.openai.form_scan import FormScan

KIND = 'multipart/form-data; boundary="b-1"'


def part(name: str, value: bytes, more: str = "") -> bytes:
    head = f'--b-1\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'
    return head.encode() + value + b"\r\n"


def passed(scan: FormScan, body: bytes, cuts: list[int]) -> bytes:
    places = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    return b"".join(scan.feed(body[start:end]) for start, end in itertools.pairwise(places))


def _whole(scan: FormScan, body: bytes, cuts: list[int]) -> None:
    passed(scan, body, cuts)
    scan.finish()


@given(
    st.sampled_from(["demo", "demo/name", "demo/a/b", "démo"]),
    st.binary(max_size=60) | st.just(b"\r\n--b-"),
    st.lists(st.integers(0, 2000), max_size=12),
    st.booleans(),
)
def test_wherever_it_is_cut_a_form_is_the_same_but_for_the_model(
    model: str, content: bytes, cuts: list[int], is_first: bool
) -> None:
    file = part("file", content.replace(b"--b-1", b""), '; filename="a"')
    texts = [part("model", model.encode()), part("n", b"2")]
    body = b"".join([*texts, file] if is_first else [file, *texts]) + b"--b-1--\r\n"
    scan = FormScan(KIND)
    found = passed(scan, body, cuts)
    scan.finish()
    rest = model.partition("/")[2] or model
    assert found == body.replace(part("model", model.encode()), part("model", rest.encode()))
    assert scan.texts == {"model": model, "n": "2"}
    assert scan.names == {"model", "n", "file"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--b-1",
        b"hello",
        part("model", b"a") + part("model", b"b") + b"--b-1--\r\n",
        part("model", b"a", '; filename="x"') + b"--b-1--\r\n",
        part("model", b"x" * 513) + b"--b-1--\r\n",
        part("model", b"\r\n--b-a") + b"--b-1--\r\n",
        part("", b"a") + b"--b-1--\r\n",
        part("a", b"a") * 1001 + b"--b-1--\r\n",
        part("a", b"a"),
    ],
)
def test_what_is_no_such_form_is_refused(body: bytes) -> None:
    scan = FormScan(KIND)
    cuts = list(range(len(body) if len(body) < 100 else 1))
    with pytest.raises(BadParameter):
        _whole(scan, body, cuts)


def test_a_form_needs_a_boundary() -> None:
    with pytest.raises(BadParameter):
        FormScan("multipart/form-data")
