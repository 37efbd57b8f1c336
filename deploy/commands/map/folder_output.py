"""The results of a mapped folder: a file for each, and a journal from which the next run resumes.

OUT/cat.json                     a result, complete from the moment on when it is there
OUT/.penstock-map/journal.jsonl  the run, then a line for each finished file; also the lock
OUT/.penstock-map/parts/         results that are arriving

A journal's line is written before its result gets its name, and the job is deleted after both.  So
a killed process leaves a result that the next run fetches again, under that name.
"""

import fcntl
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

from deploy.commands.map.extensions import LOOK_BYTES, extension_of
from deploy.commands.map.folder import FolderFile
from deploy.commands.map.output import SUCCEEDED
from deploy.errors import CannotResume, CannotWrite, OutputTaken

#: The folder of everything that is not a result.
OWN = ".penstock-map"


@dataclass(frozen=True, slots=True)
class Finished:
    """A line of the journal.  output: the name of the result, "" for a file that failed."""

    file: FolderFile
    job_id: str
    state: str
    output: str


class FolderOutput:
    """The results of one run, from `opened` on."""

    def __init__(self, path: Path, journal: BinaryIO, run_id: str) -> None:
        """Made by `opened`."""
        self.path = path
        self.run_id = run_id
        self.finished: dict[str, Finished] = {}
        #: Names of folders that results will need.
        self.folders: frozenset[str] = frozenset()
        self._journal = journal

    @classmethod
    @contextmanager
    def opened(cls, path: Path, asked: dict[str, Any]) -> Iterator[Self]:
        """Start a run, or resume the one that is there; a lock keeps other runs out.

        Raises OutputTaken, CannotResume, CannotWrite.
        """
        own = path / OWN
        try:
            (own / "parts").mkdir(parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
            # A buffer of our own would be lost when the process is killed.
            journal = os.fdopen(os.open(own / "journal.jsonl", flags, 0o644), "r+b", buffering=0)
        except OSError as error:
            raise CannotWrite(own, error) from error
        with journal:
            try:
                fcntl.flock(journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise OutputTaken(path) from None
            output = cls._read(path, journal, asked)
            output._empty_parts()
            yield output

    @classmethod
    def _read(cls, path: Path, journal: BinaryIO, asked: dict[str, Any]) -> Self:
        """Read the journal and cut off a torn last line."""
        journal.seek(0)
        size, lines = 0, []
        for raw in journal:
            if not raw.endswith(b"\n"):
                break
            size += len(raw)
            lines.append(raw)
        journal.truncate(size)
        if not lines:
            output = cls(path, journal, f"map-{uuid.uuid4()}")
            output._append({"run_id": output.run_id, **asked})
            return output
        try:
            known = json.loads(lines[0])
            output = cls(path, journal, str(known["run_id"]))
            for raw in lines[1:]:
                output._know(json.loads(raw))
        except (ValueError, KeyError, TypeError) as error:
            where = path / OWN
            raise CannotResume(
                f"expected the journal of a run in {where}, got {error!r}; choose another output, "
                "or remove that folder to start over"
            ) from None
        changed = sorted(name for name in asked if known.get(name) != asked[name])
        if changed:
            was = ", ".join(f"{name} {known.get(name)!r}" for name in changed)
            now = ", ".join(f"{name} {asked[name]!r}" for name in changed)
            raise CannotResume(
                f"cannot resume {path}: expected {was} as before, got {now}; choose another "
                f"output, or remove {path / OWN} to start over"
            )
        return output

    def is_done(self, file: FolderFile) -> bool:
        """Whether this version of a file has a result, or has failed."""
        known = self.finished.get(file.name)
        if known is None or known.file != file:
            return False
        return known.state != SUCCEEDED or (self.path / known.output).is_file()

    def part(self, job_id: str) -> Path:
        """Return where the result of a job arrives."""
        return self.path / OWN / "parts" / job_id

    def place(
        self, file: FolderFile, job_id: str, base: str, part: Path, content_type: str
    ) -> None:
        """Give a complete result its name; raises CannotWrite."""
        known = self.finished.get(file.name)
        try:
            extension = _extension(part, content_type)
            name = self._free(base, extension, known.output if known else "")
            target = self.path / name
            target.parent.mkdir(parents=True, exist_ok=True)
            self.note(Finished(file, job_id, SUCCEEDED, name))
            part.replace(target)
        except OSError as error:
            raise CannotWrite(self.path / base, error) from error
        if known and known.output not in ("", name):
            # The file has changed, and now has a result of another type.
            (self.path / known.output).unlink(missing_ok=True)

    def note(self, finished: Finished, **more: Any) -> None:
        """Write a line of the journal; raises CannotWrite."""
        file = finished.file
        line = {
            "file": file.name,
            "size": file.size_bytes,
            "mtime_ns": file.mtime_ns,
            "id": finished.job_id,
            "state": finished.state,
            "output": finished.output,
            **more,
        }
        self._append(line)
        self._remember(finished)

    def _remember(self, finished: Finished) -> None:
        # The last one is at the end.
        self.finished.pop(finished.file.name, None)
        self.finished[finished.file.name] = finished

    def sync(self) -> None:
        """Wait until the journal is on disk; raises CannotWrite."""
        try:
            os.fsync(self._journal.fileno())
        except OSError as error:
            raise CannotWrite(self.path / OWN, error) from error

    def _free(self, base: str, extension: str, own: str) -> str:
        """Return a name that is free: a result replaces nothing but an older result of its file."""
        name, number = f"{base}{extension}", 2
        while name != own and (name in self.folders or os.path.lexists(self.path / name)):
            name, number = f"{base}-{number}{extension}", number + 1
        return name

    def _know(self, line: dict[str, Any]) -> None:
        file = FolderFile(str(line["file"]), int(line["size"]), int(line["mtime_ns"]))
        self._remember(Finished(file, str(line["id"]), str(line["state"]), str(line["output"])))

    def _append(self, document: dict[str, Any]) -> None:
        size = os.fstat(self._journal.fileno()).st_size
        # In ASCII: the name of a file may be no text.
        view = memoryview(json.dumps(document).encode() + b"\n")
        try:
            while view:
                # A disk that fills up accepts a part and refuses the rest.
                view = view[os.write(self._journal.fileno(), view) :]
        except OSError as error:
            os.ftruncate(self._journal.fileno(), size)
            raise CannotWrite(self.path / OWN, error) from error

    def _empty_parts(self) -> None:
        for left in (self.path / OWN / "parts").iterdir():
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)


def _extension(part: Path, content_type: str) -> str:
    with part.open("rb") as file:
        begin = file.read(LOOK_BYTES)
        return extension_of(content_type, begin, is_whole=not file.read(1))
