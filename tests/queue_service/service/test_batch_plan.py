"""The plan of a batch: which lines it has, and in which order they run."""

import json
from pathlib import Path

import pytest

from queue_service.service.batches import lines as of_lines
from queue_service.service.batches import plan as plans
from queue_service.service.batches.folder import BatchFolder
from queue_service.service.batches.lines import Checked, LineRefused
from queue_service.service.batches.plan import (
    Abandoned,
    BadLines,
    Plan,
    first_line,
    make_plan,
    prefix_of,
    read_plan,
)


def _check(text: bytes) -> Checked:
    try:
        custom_id, model, said = json.loads(text)
    except ValueError:
        raise LineRefused("invalid_json_line", "expected JSON") from None
    return Checked(custom_id, "svc", model, prefix_of(said, said))


@pytest.fixture
def folder(tmp_path: Path) -> BatchFolder:
    return BatchFolder(tmp_path, durable=True)


def _plan(
    folder: BatchFolder, content: bytes, *, max_lines: int = 100, goes_on: bool = True
) -> Plan:
    folder.input.write_bytes(content)
    return make_plan(
        folder,
        _check,
        service="svc",
        max_lines=max_lines,
        epoch=1,
        goes_on=lambda: goes_on,
    )


def _order(folder: BatchFolder, count: int) -> list[str]:
    content = folder.input.read_bytes()
    found = read_plan(folder.plan, 0, count)
    return [json.loads(content[one.offset : one.offset + one.length])[0] for one in found]


def test_lines_are_ordered_by_model_and_prefix(folder: BatchFolder) -> None:
    wanted = [("1", "m2", "b x"), ("2", "m1", "b x"), ("3", "m1", "a y"), ("4", "m1", "b x")]
    content = "".join(json.dumps(one) + "\n" for one in wanted).encode()
    assert _plan(folder, content) == Plan(4, "m2")
    assert _order(folder, 4) == ["3", "2", "4", "1"]
    assert [one.line for one in read_plan(folder.plan, 1, 2)] == [2, 4]
    assert sorted(path.name for path in folder.path.iterdir()) == ["input", "plan"]


def test_long_texts_are_ordered_by_the_whole_first_message() -> None:
    same, other = "x" * 1000 + "a", "x" * 1000 + "b"
    assert prefix_of(same, same) == prefix_of(same + "more", same)
    assert prefix_of(same, same) != prefix_of(other, other)


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("last", [True, False])
def test_empty_lines_and_every_end_of_a_line(folder: BatchFolder, end: bytes, last: bool) -> None:
    content = end.join((b'["1", "m", "x"]', b"", b"  ", b' ["2", "m", "x"] '))
    assert _plan(folder, content + (end if last else b"")).total == 2
    assert _order(folder, 9) == ["1", "2"]
    assert [one.line for one in read_plan(folder.plan, 0, 9)] == [1, 4]
    assert first_line(folder.input).strip() == b'["1", "m", "x"]'


def test_a_line_that_is_too_long_is_named_and_not_kept(
    folder: BatchFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plans, "MAX_LINE_BYTES", 100)
    assert of_lines.MAX_LINE_BYTES > 100
    content = json.dumps(["1", "m", "x" * 1000]).encode() + b'\n["2", "m", "x"]'
    with pytest.raises(BadLines) as refused:
        _plan(folder, content)
    (error,) = refused.value.errors
    assert (error.line, error.code) == (1, "line_too_long")
    assert "at most 100 bytes, got 1015" in error.message


@pytest.mark.parametrize(
    ("content", "code", "line"),
    [
        (b'["1", "m", "x"]\n{', "invalid_json_line", 2),
        (b'["1", "m", "x"]\n["1", "m", "y"]', "duplicate_custom_id", 2),
        (b"", "empty_file", None),
        (b"\n\n", "empty_file", None),
    ],
)
def test_wrong_lines(folder: BatchFolder, content: bytes, code: str, line: int | None) -> None:
    with pytest.raises(BadLines) as refused:
        _plan(folder, content)
    assert [(one.code, one.line) for one in refused.value.errors] == [(code, line)]
    assert not folder.plan.exists()


def test_too_many_lines(folder: BatchFolder) -> None:
    content = "".join(json.dumps([f"{n}", "m", "x"]) + "\n" for n in range(4)).encode()
    assert _plan(folder, content, max_lines=4).total == 4
    with pytest.raises(BadLines, match="at most 3 lines"):
        _plan(folder, content, max_lines=3)


def test_a_batch_that_does_not_go_on_stops_its_plan(folder: BatchFolder) -> None:
    with pytest.raises(Abandoned):
        _plan(folder, b'["1", "m", "x"]', goes_on=False)
