"""The file of a backup: a tar archive that can be written to a pipe and read from one.

    penstock-backup.json   the format, and what the backup is of
    files/<folder>/<name>  files with tokens, and services of a local mode
    redis/<number>.resp    Redis commands that write what was stored, in Redis's own protocol
    end.json               how many members there are before it, and the SHA-256 of all together

Each member has its SHA-256 in its header, so a reader checks it before it uses it.  A file without
a right `end.json` is not whole.
"""

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from deploy.backup.errors import BackupFailed, BadBackup

#: The version of this layout.  A field that old readers can ignore is no new version.
FORMAT = 1

#: The name of the first and of the last member.
ABOUT, END = "penstock-backup.json", "end.json"

#: The word in a member's header before its digest.
_DIGEST = "PENSTOCK.sha256"

#: The largest member that a reader takes, in bytes: one entry may have a payload of 1 GiB.
MOST_MEMBER_BYTES = 2 * 1024**3


@dataclass(frozen=True, slots=True)
class Member:
    """One part of an archive, checked."""

    name: str
    data: bytes


class _Counted:
    """A file that knows where it is, as a pipe does not."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._at = 0

    def write(self, data: bytes) -> int:
        self._file.write(data)
        self._at += len(data)
        return len(data)

    def tell(self) -> int:
        return self._at


class Writer:
    """Writes the members one after the other; `end` makes the archive whole."""

    def __init__(self, file: IO[bytes], about: dict[str, Any]) -> None:
        # `end` closes it: an archive that was not ended must not look whole.
        self._tar = tarfile.TarFile(
            fileobj=cast("Any", _Counted(file)), mode="w", format=tarfile.PAX_FORMAT
        )
        self._members = 0
        self._all = hashlib.sha256()
        self.add(ABOUT, json.dumps({"format": FORMAT, **about}, indent=2).encode())

    def add(self, name: str, data: bytes) -> None:
        """Write a member."""
        self._members += 1
        self._all.update(data)
        self._write(name, data)

    def end(self) -> None:
        """Write what says that the archive is whole."""
        end = {"members": self._members, "sha256": self._all.hexdigest()}
        self._write(END, json.dumps(end).encode())
        self._tar.close()

    def _write(self, name: str, data: bytes) -> None:
        member = tarfile.TarInfo(name)
        member.size, member.mode = len(data), 0o600
        member.pax_headers = {_DIGEST: hashlib.sha256(data).hexdigest()}
        self._tar.addfile(member, io.BytesIO(data))


def read(file: IO[bytes]) -> Iterator[Member]:
    """Yield every member but the last, each checked; raises BadBackup for what is not right.

    The archive is whole when this has come to its end.
    """
    members, every = 0, hashlib.sha256()
    end: dict[str, Any] | None = None
    for member in _members(file):
        if end is not None:
            raise BadBackup(f"nothing behind {END}", member.name)
        if not members:
            _check_about(member)
        if member.name == END:
            end = _parse(member)
            continue
        members += 1
        every.update(member.data)
        yield member
    if end is None:
        raise BadBackup("a whole backup", "one whose end is missing: it was cut off")
    if (end.get("members"), end.get("sha256")) != (members, every.hexdigest()):
        raise BadBackup("the members that were written", "others: the file was changed")


def _members(file: IO[bytes]) -> Iterator[Member]:
    try:
        with tarfile.open(fileobj=file, mode="r|") as tar:
            for found in tar:
                # A sparse one may be larger than the file that it is in.
                if not found.isreg() or found.issparse() or found.size > MOST_MEMBER_BYTES:
                    raise BadBackup("plain members", repr(found.name[:80]))
                opened = tar.extractfile(found)
                data = opened.read() if opened else b""
                if hashlib.sha256(data).hexdigest() != found.pax_headers.get(_DIGEST):
                    came = "another: it is damaged"
                    raise BadBackup(f"{found.name[:80]!r} as it was written", came)
                yield Member(found.name, data)
    except (tarfile.TarError, EOFError, ValueError, UnicodeError) as error:
        raise BadBackup(
            "a backup of Penstock", f"another file, or only a part of one ({error})"
        ) from None


def _check_about(member: Member) -> None:
    if member.name != ABOUT:
        raise BadBackup(f"a backup of Penstock, whose first member is {ABOUT}", repr(member.name))
    written = _parse(member).get("format")
    if not isinstance(written, int) or not 1 <= written <= FORMAT:
        raise BadBackup(f"a backup of format {FORMAT} or older", f"format {written!r}")


def _parse(member: Member) -> dict[str, Any]:
    try:
        found = json.loads(member.data)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise BadBackup(f"JSON in {member.name}", "something else")
    return found


def about_of(member: Member) -> dict[str, Any]:
    """Return what the first member says of the backup."""
    return _parse(member)


@contextmanager
def new_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that only its owner can read; it has its name only when it is whole.

    Until then it is `<name>.part`, which an error removes.
    """
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    about = os.fstat(descriptor)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if not _is_at(part, about):
            raise BackupFailed(f"expected {path} for this backup alone, another one writes it too")
        part.replace(path)
    except BaseException:
        if _is_at(part, about):
            part.unlink(missing_ok=True)
        raise


def _is_at(path: Path, about: os.stat_result) -> bool:
    try:
        return os.path.samestat(path.lstat(), about)
    except FileNotFoundError:
        return False
