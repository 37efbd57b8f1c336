"""Contents that describe themselves, and what is found in one that is not whole."""

from pathlib import Path

import pytest

from tests.faults import contents

TEXT = "amber/job-1-7 0 t"
WHOLE = contents.large(TEXT, 70_000, 35_000, 2)


def test_a_content_says_what_it_is() -> None:
    assert contents.text_of(WHOLE) == TEXT
    assert contents.numbers_of(WHOLE) == [35_000, 2]
    assert contents.is_large(WHOLE)
    assert contents.what_is_wrong(WHOLE) == ""
    assert not contents.is_large(TEXT.encode())
    assert contents.text_of(TEXT.encode()) == TEXT


@pytest.mark.parametrize(
    ("changed", "wrong"),
    [
        (WHOLE[:-1], "69999 bytes of 70000"),
        (WHOLE + b"x", "70001 bytes of 70000"),
        (WHOLE[:40_000] + b"\0" + WHOLE[40_001:], "other bytes"),
        (WHOLE[:100] + WHOLE[4_196:] + WHOLE[100:4_196], "other bytes"),
        (WHOLE.replace(b"job-1-7", b"job-1-8", 1), "other bytes"),
        (b"", "no content"),
        (WHOLE[:10], "no content"),
    ],
)
def test_a_content_that_was_changed_is_named(changed: bytes, wrong: str) -> None:
    assert wrong in contents.what_is_wrong(changed)


def test_a_file_is_looked_at_as_its_content(tmp_path: Path) -> None:
    path = tmp_path / "one"
    assert contents.what_is_wrong_with(path) == ""
    path.write_bytes(WHOLE)
    assert contents.what_is_wrong_with(path) == ""
    path.write_bytes(WHOLE[:-1])
    assert "69999 bytes" in contents.what_is_wrong_with(path)
