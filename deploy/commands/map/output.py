"""The output of `penstock map`: a line for each input, and a file that describes the run.

OUT        a line of JSON for each finished input, written before its job is deleted
OUT.run    the input and the options, and the run id that begins the ids of the jobs; also the lock
OUT.new    a copy, while failed lines are removed

A process that is killed leaves at most a torn last line, which the next run cuts off.  The job of
that line still exists, or runs again: a job is deleted only after its line is complete.
"""

import fcntl
import json
import os
import uuid
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

from deploy.commands.json_lines import JsonLines, job_id, number_in
from deploy.commands.printing import json_line
from deploy.errors import CannotResume, CannotWrite, OutputTaken

SUCCEEDED = "succeeded"
#: A run that is killed leaves at most this number of jobs that it had written: those in flight.
LAST = 256


@dataclass(frozen=True, slots=True)
class MapAsked:
    """What you asked for; a run resumes only when this is the same.

    options: of the jobs.  sha256, size_bytes, lines: of the input.
    """

    service: str
    options: dict[str, Any]
    sha256: str
    size_bytes: int
    lines: int

    @classmethod
    def of(cls, service: str, options: dict[str, Any], file: JsonLines) -> "MapAsked":
        """Return what to do with the lines of a file."""
        return cls(service, options, file.sha256, file.size_bytes, file.lines)


class MapOutput:
    """The lines of one run, from `opened` on."""

    def __init__(self, path: Path, run_id: str, lines: int) -> None:
        """Made by `opened`.  lines: of the input."""
        self.path = path
        self.run_id = run_id
        self.failed = 0
        self.done = 0
        #: The lines that were written last.
        self.last: deque[int] = deque(maxlen=LAST)
        # A bit for each line of the input: a set of a hundred million numbers would be gigabytes.
        self._done = bytearray((lines + 7) // 8)
        self._lines = lines
        self._file = self._open()
        try:
            self._size_bytes = self._scan()
        except BaseException:
            self._file.close()
            raise

    @classmethod
    @contextmanager
    def opened(cls, path: Path, asked: MapAsked) -> Iterator[Self]:
        """Start a run, or resume the one that is there; a lock keeps other runs out.

        Raises OutputTaken, CannotResume, CannotWrite.
        """
        beside = path.with_name(f"{path.name}.run")
        try:
            run_file = _unbuffered(beside)
        except OSError as error:
            raise CannotWrite(beside, error) from error
        with run_file:
            try:
                fcntl.flock(run_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise OutputTaken(path) from None
            known = _read(run_file)
            if not path.exists() or (known is None and not path.stat().st_size):
                run_id = f"map-{uuid.uuid4()}"
                _write(run_file, beside, {"run_id": run_id, **asdict(asked)})
            else:
                run_id = _run_to_go_on(path, beside, known, asked)
            output = cls(path, run_id, asked.lines)
            try:
                yield output
            finally:
                output._file.close()

    def has(self, number: int) -> bool:
        """Whether the input of this line is done."""
        return bool(self._done[number >> 3] & 1 << (number & 7))

    def job_id(self, number: int) -> str:
        """The id of the job of a line: the same in every run that goes on with this one."""
        return job_id(self.run_id, number)

    def number_of(self, job_id: str) -> int:
        """The line whose job this is."""
        return number_in(job_id)

    def write(self, number: int, fields: dict[str, Any]) -> None:
        """Add the line of an input; when this returns, the kernel has it.

        Raises CannotWrite, and then removes what was written of the line.
        """
        document = {"number": number, "id": self.job_id(number), **fields}
        line = json_line(document).encode() + b"\n"
        try:
            _write_whole(self._file.fileno(), line)
        except OSError as error:
            os.ftruncate(self._file.fileno(), self._size_bytes)
            raise CannotWrite(self.path, error) from error
        self._size_bytes += len(line)
        self._count(number, str(fields["state"]))

    def sync(self) -> None:
        """Wait until everything is on disk; raises CannotWrite, also when the file is gone."""
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise CannotWrite(self.path, error) from error
        ours = os.fstat(self._file.fileno())
        if not self.path.exists() or not os.path.samestat(self.path.stat(), ours):
            why = OSError("it was removed or replaced while it was written")
            raise CannotWrite(self.path, why, kept=False)

    def failed_ids(self) -> Iterator[str]:
        """Yield the ids of the jobs that failed."""
        with self.path.open("rb") as file:
            for raw in file:
                line = json.loads(raw)
                if line["state"] != SUCCEEDED:
                    yield line["id"]

    def drop_failed(self) -> None:
        """Remove the lines of failed inputs, in one step, so that these inputs run again."""
        beside = self.path.with_name(f"{self.path.name}.new")
        try:
            with self.path.open("rb") as old, beside.open("wb") as new:
                for raw in old:
                    if json.loads(raw)["state"] == SUCCEEDED:
                        new.write(raw)
                new.flush()
                os.fsync(new.fileno())
            beside.replace(self.path)
        except OSError as error:
            beside.unlink(missing_ok=True)
            raise CannotWrite(beside, error) from error
        self._file.close()
        self._file = self._open()
        self._done = bytearray(len(self._done))
        self.done = self.failed = 0
        self._size_bytes = self._scan()

    def _open(self) -> BinaryIO:
        try:
            return _unbuffered(self.path, os.O_APPEND)
        except OSError as error:
            raise CannotWrite(self.path, error) from error

    def _scan(self) -> int:
        """Read what is done, cut off a torn last line, and return the size in bytes."""
        size_bytes = 0
        with self.path.open("rb") as file:
            for position, raw in enumerate(file, 1):
                if not raw.endswith(b"\n"):
                    os.ftruncate(self._file.fileno(), size_bytes)
                    break
                number, state = self._read_line(position, raw)
                self._count(number, state)
                size_bytes += len(raw)
        return size_bytes

    def _read_line(self, position: int, raw: bytes) -> tuple[int, str]:
        where = f"{self.path}, line {position}"
        try:
            line = json.loads(raw)
            number, state, job_id = line["number"], line["state"], line["id"]
            is_ours = 0 <= number < self._lines and job_id == self.job_id(number)
        except (ValueError, KeyError, TypeError, RecursionError):
            is_ours = False
        if not is_ours:
            came = repr(raw[:60].decode("utf-8", "replace"))
            raise CannotResume(f"{where}: expected a line of run {self.run_id}, got {came}")
        if self.has(number):
            raise CannotResume(f"{where}: expected each number once, got {number} again")
        return number, str(state)

    def _count(self, number: int, state: str) -> None:
        self._done[number >> 3] |= 1 << (number & 7)
        self.last.append(number)
        self.done += 1
        self.failed += state != SUCCEEDED


def _run_to_go_on(path: Path, beside: Path, known: dict[str, Any] | None, asked: MapAsked) -> str:
    """Return the run id of the existing output; raises CannotResume if it is from another run."""
    if known is None:
        raise CannotResume(
            f"{path} exists, but {beside.name}, which describes its run, is missing or not "
            "readable; choose another output, or remove this one"
        )
    wanted = asdict(asked)
    changed = sorted(name for name in wanted if known.get(name) != wanted[name])
    if not changed:
        return str(known["run_id"])
    if {"sha256", "size_bytes", "lines"} & set(changed):
        what = (
            f"an input of {known.get('lines')} lines and {known.get('size_bytes')} bytes, got one "
            f"of {asked.lines} lines and {asked.size_bytes} bytes that is not the same"
        )
    else:
        names = " and ".join(changed)
        was = ", ".join(f"{name} {known.get(name)!r}" for name in changed)
        now = ", ".join(f"{name} {wanted[name]!r}" for name in changed)
        what = f"the same {names} as before ({was}), got {now}"
    raise CannotResume(
        f"cannot resume {path}: expected {what}; choose another output, or remove {path} to start "
        "over"
    )


def _read(run_file: BinaryIO) -> dict[str, Any] | None:
    try:
        known = json.loads(run_file.read())
    except ValueError:
        # Empty when it was just created, torn when the machine died in that moment.
        return None
    return known if isinstance(known, dict) and "run_id" in known else None


def _write(run_file: BinaryIO, path: Path, known: dict[str, Any]) -> None:
    try:
        os.ftruncate(run_file.fileno(), 0)
        run_file.seek(0)
        _write_whole(run_file.fileno(), json.dumps(known, indent=2).encode() + b"\n")
        os.fsync(run_file.fileno())
    except OSError as error:
        raise CannotWrite(path, error) from error


def _unbuffered(path: Path, flags: int = 0) -> BinaryIO:
    # A buffer of our own would be lost when the process is killed.
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | flags, 0o644), "r+b", buffering=0)


def _write_whole(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        # A disk that fills up accepts a part and refuses the rest.
        view = view[os.write(descriptor, view) :]
