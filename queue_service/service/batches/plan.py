"""The plan of a batch: every line checked, and the order in which they run.

The plan is a file with three numbers for each line: where it begins in the input, how long it is,
which line it is.  Lines of one model stand together, and among these lines with equal prefixes.  A
database on disk sorts them, and finds custom ids that occur twice, so memory does not grow with the
number of lines.
"""

import contextlib
import hashlib
import os
import sqlite3
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from queue_service.service.batches.folder import BatchFolder
from queue_service.service.batches.lines import MAX_LINE_BYTES, Checked, LineRefused

#: Where a line begins, its length in bytes, its number from 1.
LAYOUT = struct.Struct("<QII")
#: How many errors are shown; the rest is not looked for.
MAX_ERRORS = 100
#: How much of a prefix counts for the order, in bytes.
PREFIX_BYTES = 256
#: The memory of the database, in KiB.
CACHE_KIB = 8192
#: How many lines are checked before the batch is asked whether it still runs.
ASK_EVERY = 1000


class Abandoned(Exception):
    """The batch was canceled, or belongs to another process now."""


@dataclass(frozen=True, slots=True)
class LineError:
    """Why a batch cannot begin; line: None if it is not about one line."""

    code: str
    message: str
    line: int | None = None
    param: str | None = None


class BadLines(Exception):
    """The input is no batch."""

    def __init__(self, *errors: LineError) -> None:
        super().__init__(errors[0].message)
        self.errors = errors


@dataclass(frozen=True, slots=True)
class Planned:
    """One line of the plan."""

    offset: int
    length: int
    line: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What the lines have in common.  total: how many there are."""

    total: int
    model: str


def make_plan(
    folder: BatchFolder,
    check: Callable[[bytes], Checked],
    *,
    service: str,
    max_lines: int,
    epoch: int,
    goes_on: Callable[[], bool],
) -> Plan:
    """Check the lines and write the plan; raises BadLines, Abandoned or OSError.

    check: raises LineRefused.  service: which all lines must be for.
    """
    scratch = folder.path / f"sorting-{epoch}"
    scratch.unlink(missing_ok=True)
    try:
        with contextlib.closing(_database(scratch)) as lines:
            sorter = _Sorter(lines, check, service=service, max_lines=max_lines)
            with folder.input.open("rb") as file:
                for count, (planned, text) in enumerate(_read(file)):
                    if count % ASK_EVERY == 0 and not goes_on():
                        raise Abandoned
                    sorter.add(planned, text)
            plan = sorter.finish()
            _write(folder, lines, epoch)
    except sqlite3.Error as error:
        raise OSError(f"the lines cannot be sorted: {error}") from error
    finally:
        scratch.unlink(missing_ok=True)
    return plan


def read_plan(path: Path, first: int, count: int) -> list[Planned]:
    """Return lines of a plan, from a place on."""
    with path.open("rb") as file:
        file.seek(first * LAYOUT.size)
        return [Planned(*found) for found in LAYOUT.iter_unpack(file.read(count * LAYOUT.size))]


def first_line(path: Path) -> bytes:
    """Return the first line that is not empty, b"" if there is none; raises OSError."""
    with path.open("rb") as file:
        return next((text for _, text in _read(file)), b"")


async def first_line_of(pieces: AsyncIterator[bytes]) -> bytes:
    """Return the first line that is not empty, as far as a line may go; b"" if there is none."""
    begun = b""
    async for piece in pieces:
        begun = (begun + piece).lstrip(b"\r\n ")
        if b"\n" in begun or len(begun) > MAX_LINE_BYTES:
            break
    return begun.partition(b"\n")[0][: MAX_LINE_BYTES + 1]


def prefix_of(text: str, first: str) -> bytes:
    """Return what orders a line: the beginning of its text, then its whole first message."""
    digest = hashlib.blake2b(first.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return text.encode("utf-8", "surrogatepass")[:PREFIX_BYTES] + digest


class _Sorter:
    def __init__(
        self,
        lines: sqlite3.Connection,
        check: Callable[[bytes], Checked],
        *,
        service: str,
        max_lines: int,
    ) -> None:
        self._lines = lines
        self._check = check
        self._service = service
        self._max_lines = max_lines
        self._errors: list[LineError] = []
        self._total = 0
        self._model = ""

    def add(self, planned: Planned, text: bytes) -> None:
        """Add a line; raises BadLines when there are too many of them, or too many errors."""
        self._total += 1
        if self._total > self._max_lines:
            sentence = (
                f"expected at most {self._max_lines} lines (PENSTOCK_MAX_BATCH_LINES), got more; "
                "split the file"
            )
            raise BadLines(LineError("too_many_tasks", sentence))
        try:
            self._add(planned, text)
        except LineRefused as error:
            self._errors.append(LineError(error.code, str(error), planned.line, error.parameter))
            if len(self._errors) >= MAX_ERRORS:
                raise BadLines(*self._errors) from None

    def finish(self) -> Plan:
        """Return what was added; raises BadLines."""
        if self._errors:
            raise BadLines(*self._errors)
        if not self._total:
            raise BadLines(LineError("empty_file", "expected at least one line, got none"))
        self._lines.commit()
        return Plan(self._total, self._model)

    def _add(self, planned: Planned, text: bytes) -> None:
        if planned.length > MAX_LINE_BYTES:
            expected = f"expected a line of at most {MAX_LINE_BYTES} bytes"
            raise LineRefused("line_too_long", f"{expected}, got {planned.length}")
        checked = self._check(text)
        if checked.service != self._service:
            sentence = (
                f"expected a model of the service {self._service!r} as in the first line, got "
                f"{checked.model[:64]!r}; make a batch for each service"
            )
            raise LineRefused("mismatched_model", sentence, "body.model")
        self._model = self._model or checked.model
        name = checked.custom_id.encode("utf-8", "surrogatepass")
        try:
            digest = hashlib.blake2b(name, digest_size=16).digest()
            self._lines.execute("INSERT INTO ids VALUES (?)", (digest,))
        except sqlite3.IntegrityError:
            sentence = f"expected a custom_id of its own, got {checked.custom_id[:64]!r} again"
            raise LineRefused("duplicate_custom_id", sentence, "custom_id") from None
        model = checked.model.encode("utf-8", "surrogatepass")
        row = (model, checked.prefix, planned.line, planned.offset, planned.length)
        self._lines.execute("INSERT INTO lines VALUES (?, ?, ?, ?, ?)", row)


def _database(path: Path) -> sqlite3.Connection:
    # One process writes a file of its own and loses nothing by a crash, so it needs no journal.
    # Locks fail on some network file systems, and nobody else opens this file.
    lines = sqlite3.connect(f"{path.absolute().as_uri()}?vfs=unix-none", uri=True)
    for pragma in ("journal_mode = OFF", "synchronous = OFF", f"cache_size = -{CACHE_KIB}"):
        lines.execute(f"PRAGMA {pragma}")
    lines.execute("CREATE TABLE ids (id BLOB PRIMARY KEY) WITHOUT ROWID")
    # Sorted as it grows: a sort at the end would need a folder for temporary files.
    lines.execute(
        "CREATE TABLE lines (model BLOB, prefix BLOB, line INTEGER, start INTEGER, length INTEGER, "
        "PRIMARY KEY (model, prefix, line)) WITHOUT ROWID"
    )
    return lines


def _read(file: IO[bytes]) -> Iterator[tuple[Planned, bytes]]:
    """Yield the lines that are not empty; of one that is too long only the beginning."""
    offset = number = 0
    while text := file.readline(MAX_LINE_BYTES + 1):
        number, length, rest = number + 1, len(text), text
        while not rest.endswith(b"\n") and (rest := file.readline(MAX_LINE_BYTES)):
            length += len(rest)
        if text.strip():
            yield Planned(offset, length, number), text
        offset += length


def _write(folder: BatchFolder, lines: sqlite3.Connection, epoch: int) -> None:
    found = lines.execute("SELECT start, length, line FROM lines ORDER BY model, prefix, line")
    path = folder.path / f"plan-{epoch}"
    with path.open("wb") as file:
        for row in found:
            file.write(LAYOUT.pack(*row))
        file.flush()
        if folder.durable:
            os.fsync(file.fileno())
    path.rename(folder.plan)
