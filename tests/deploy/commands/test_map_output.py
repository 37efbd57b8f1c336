"""The files of `penstock map`: what a killed run leaves is repaired, nothing else is touched."""

import json
from pathlib import Path

import pytest

from deploy.commands.job_options import output_fields
from deploy.commands.map.input import MapInput
from deploy.commands.map.output import MapAsked, MapOutput
from deploy.commands.printing import json_line
from deploy.errors import BadInputFile, CannotResume, CannotWrite, OutputTaken

DONE = {"state": "succeeded", "output": "é"}
ASKED = MapAsked("svc", {}, "digest", 90, 9)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


def written(out: Path, *numbers: int, asked: MapAsked = ASKED) -> str:
    """Write these lines as one run, and return its id."""
    with MapOutput.opened(out, asked) as output:
        for number in numbers:
            output.write(number, DONE)
        return output.run_id


def test_a_run_goes_on_after_the_lines_that_are_there(out: Path) -> None:
    run_id = written(out, 3, 8, 0)
    with MapOutput.opened(out, ASKED) as output:
        assert output.run_id == run_id
        assert [number for number in range(9) if output.has(number)] == [0, 3, 8]
        assert (output.done, output.failed) == (3, 0)
    (line, *_) = out.read_text().splitlines()
    assert json.loads(line) == {"number": 3, "id": f"{run_id}-3", **DONE}


def test_a_torn_last_line_is_cut_off_wherever_it_was_torn(out: Path) -> None:
    written(out, 1, 2)
    whole = out.read_bytes()
    kept = whole[: whole.index(b"\n") + 1]
    for size in range(len(kept) + 1, len(whole)):
        out.write_bytes(whole[:size])
        with MapOutput.opened(out, ASKED) as output:
            assert (output.done, output.has(1), output.has(2)) == (1, True, False)
        assert out.read_bytes() == kept
    written(out, 2)
    assert out.read_bytes() == whole


def test_a_run_whose_output_was_removed_is_a_new_one(out: Path) -> None:
    first = written(out, 1)
    out.unlink()
    assert written(out) != first
    # As when the machine died while the run was being written down: nothing was put by then.
    out.with_name("out.jsonl.run").write_text('{"run_')
    assert written(out) != first


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (MapAsked("other", {}, "digest", 90, 9), "service 'svc'.*got service 'other'"),
        (MapAsked("svc", {"priority": 1}, "digest", 90, 9), "the same options as before"),
        (MapAsked("svc", {}, "another", 91, 9), "9 lines and 90 bytes.* 91 bytes .*not the same"),
    ],
)
def test_a_run_does_not_go_on_with_something_else(
    out: Path, asked: MapAsked, expected: str
) -> None:
    written(out, 1)
    with pytest.raises(CannotResume, match=expected), MapOutput.opened(out, asked):
        pass


@pytest.mark.parametrize(
    "strange", ["hello", "{}", '{"number": 1, "id": "map-x-1", "state": "succeeded"}', "[" * 9999]
)
def test_lines_of_another_program_are_not_touched(out: Path, strange: str) -> None:
    written(out, 1)
    with out.open("a") as file:
        file.write(f"{strange}\n")
    before = out.read_bytes()
    with (
        pytest.raises(CannotResume, match=r"line 2: expected a line of run map-"),
        MapOutput.opened(out, ASKED),
    ):
        pass
    out.with_name("out.jsonl.run").unlink()
    with pytest.raises(CannotResume, match="choose another output"), MapOutput.opened(out, ASKED):
        pass
    assert out.read_bytes() == before


def test_a_number_that_is_there_twice_is_refused(out: Path) -> None:
    written(out, 1)
    out.write_bytes(out.read_bytes() * 2)
    with pytest.raises(CannotResume, match="each number once"), MapOutput.opened(out, ASKED):
        pass


def test_two_runs_do_not_write_the_same_output(out: Path) -> None:
    with (
        MapOutput.opened(out, ASKED),
        pytest.raises(OutputTaken),
        MapOutput.opened(out, ASKED),
    ):
        pass
    assert written(out, 1)


def test_an_output_that_is_removed_or_replaced_meanwhile_is_said(out: Path) -> None:
    with MapOutput.opened(out, ASKED) as output:
        output.write(0, DONE)
        output.sync()
        out.unlink()
        with pytest.raises(CannotWrite, match=r"removed or replaced .* starts over"):
            output.sync()
        out.touch()
        with pytest.raises(CannotWrite, match="removed or replaced"):
            output.sync()


def test_failed_lines_are_taken_out_in_one_step(out: Path) -> None:
    with MapOutput.opened(out, ASKED) as output:
        output.write(0, DONE)
        output.write(1, {"state": "failed", "error": {}})
        output.write(2, DONE)
        assert output.failed == 1
        assert list(output.failed_ids()) == [output.job_id(1)]
        output.drop_failed()
        assert (output.done, output.failed, output.has(1)) == (2, 0, False)
        output.write(1, DONE)
    assert [json.loads(line)["number"] for line in out.read_text().splitlines()] == [0, 2, 1]
    assert sorted(path.name for path in out.parent.iterdir()) == ["out.jsonl", "out.jsonl.run"]


def test_inputs_are_the_values_of_the_lines(tmp_path: Path) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'\xef\xbb\xbf"a\\n\xc3\xa9"\r\n\n  \n{"n": 1.50}\n7')
    checked = MapInput.check(path)
    assert (checked.file.lines, checked.file.inputs) == (5, 3)
    assert [(line.number, line.data, line.content_type) for line in checked] == [
        (0, "a\né".encode(), ""),
        (3, b'{"n": 1.50}', "application/json"),
        (4, b"7", "application/json"),
    ]
    with path.open("a") as file:
        file.write("\n8")
    with pytest.raises(BadInputFile, match="was changed"):
        list(checked)


@pytest.mark.parametrize("bad", [b'{"a": 1', b"NaN", b'"\xff"', b"[" * 100_000])
def test_a_line_that_is_no_json_is_named(tmp_path: Path, bad: bytes) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b'"a"\n"b"\n' + bad + b'\n"d"\n')
    with pytest.raises(BadInputFile, match=r"in.jsonl, line 3: expected a JSON value"):
        MapInput.check(path)


@pytest.mark.parametrize(
    ("data", "fields"),
    [
        (b"plain", {"output": "plain"}),
        (b"42", {"output": "42"}),
        (b'{"a": [1]}', {"output": {"a": [1]}}),
        (b" [1,\n2]", {"output": [1, 2]}),
        (b"[NaN]", {"output": "[NaN]"}),
        (b"{no", {"output": "{no"}),
        (b"\xff", {"output_base64": "/w=="}),
    ],
)
def test_an_output_is_an_object_an_array_text_or_bytes(
    data: bytes, fields: dict[str, object]
) -> None:
    assert output_fields(data) == fields
    assert json.loads(json_line(fields)) == fields


def test_half_a_character_does_not_keep_a_line_from_being_written() -> None:
    line = json_line(output_fields(b'["\\ud800"]'))
    assert json.loads(line.encode()) == {"output": ["\ud800"]}
