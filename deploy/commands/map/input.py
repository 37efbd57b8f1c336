"""The input of `penstock map`: each JSON value of a file becomes the data of a job."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from client_sdk.wire import names
from deploy.commands.json_lines import JsonLine, JsonLines


@dataclass(frozen=True, slots=True)
class InputLine:
    """One input.  number: the line's place in the file, from 0.  content_type: "" for text."""

    number: int
    data: bytes
    content_type: str


@dataclass(frozen=True, slots=True)
class MapInput:
    """A file that was checked from end to end."""

    file: JsonLines

    @classmethod
    def check(cls, path: Path) -> "MapInput":
        """Read a file; raises BadInputFile for the first line that is not JSON."""
        return cls(JsonLines.check(path))

    def __iter__(self) -> Iterator[InputLine]:
        """Give the inputs; raises BadInputFile at the end when the file is no longer the same."""
        return map(_input, self.file)


def _input(line: JsonLine) -> InputLine:
    """A string becomes its text; any other value stays the JSON of the line."""
    if isinstance(line.value, str):
        return InputLine(line.number, line.value.encode("utf-8", "replace"), "")
    return InputLine(line.number, line.text, names.JSON)
