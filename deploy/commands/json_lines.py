"""Files with one JSON value per line, and the ids of their jobs, for `map` and `batch`.

A file is read from end to end before anything is sent, so that a mistake in its last line costs
nothing.  Only one line is in memory at a time.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.errors import BadInputFile

#: The longest line, in bytes; memory may hold as many lines as jobs are in flight.
MAX_LINE_BYTES = 64 * 1024 * 1024
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class JsonLine:
    """A line that is not empty.

    number: its place in the file, from 0.  text: without white space around it.
    """

    number: int
    text: bytes
    value: Any


@dataclass(frozen=True, slots=True)
class JsonLines:
    """A file that was read from end to end.

    lines: all of them.  inputs: those that are not empty.  sha256: of its bytes.
    """

    path: Path
    lines: int
    inputs: int
    size_bytes: int
    sha256: str

    @classmethod
    def check(cls, path: Path) -> "JsonLines":
        """Read a file; raises BadInputFile for the first line that is not JSON."""
        seen = hashlib.sha256()
        lines = inputs = size_bytes = 0
        for number, raw in enumerate(_lines(path)):
            seen.update(raw)
            size_bytes += len(raw)
            lines += 1
            inputs += read_line(path, number, raw) is not None
        return cls(path, lines, inputs, size_bytes, seen.hexdigest())

    def __iter__(self) -> Iterator[JsonLine]:
        """Give the lines; raises BadInputFile at the end when the file is no longer the same."""
        seen = hashlib.sha256()
        for number, raw in enumerate(_lines(self.path)):
            seen.update(raw)
            line = read_line(self.path, number, raw) if number < self.lines else None
            if line is not None:
                yield line
        if seen.hexdigest() != self.sha256:
            raise BadInputFile(
                f"{self.path} was changed while it was read; run the command again, with another "
                "output"
            )


def read_line(path: Path, number: int, raw: bytes) -> JsonLine | None:
    """Return the value in a line, None for an empty one; raises BadInputFile."""
    text = (raw.removeprefix(_BOM) if number == 0 else raw).strip()
    if not text:
        return None
    try:
        return JsonLine(number, text, json.loads(text.decode(), parse_constant=_no_number))
    except (ValueError, RecursionError) as error:
        came = repr(text[:40].decode("utf-8", "replace"))
        why = str(error) or "nested too deeply"
        raise BadInputFile(
            f"{path}, line {number + 1}: expected a JSON value, got {came}: {why}"
        ) from None


def job_id(run_id: str, number: int | str) -> str:
    """Return the id of one job of many, the same whenever the run goes on."""
    return f"{run_id}-{number}"


def number_in(job_id: str) -> int:
    """Return the line whose job this is."""
    return int(job_id.rpartition("-")[2])


def _lines(path: Path) -> Iterator[bytes]:
    if not path.is_file():
        what = "something else" if path.exists() else "nothing"
        raise BadInputFile(f"expected a file at {path}, found {what}")
    try:
        with path.open("rb") as file:
            number = 0
            while raw := file.readline(MAX_LINE_BYTES + 1):
                number += 1
                if len(raw) > MAX_LINE_BYTES:
                    raise BadInputFile(
                        f"{path}, line {number}: expected at most {MAX_LINE_BYTES} bytes, got more"
                    )
                yield raw
    except OSError as error:
        raise BadInputFile(f"cannot read {path}: {error.strerror}") from error


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is not a number in JSON")
