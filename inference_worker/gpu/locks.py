"""Which processes hold which GPUs: one lock file for each GPU, in a folder that all of them share.

The kernel releases a lock (flock) when the last process that inherited it has ended, however it
ended.  So a GPU is never lost after a kill, and never given away while a surviving engine still
uses it.  The text in a file only says who holds it.

    GPU-5f6a.lock           exclusively: one worker has the whole GPU; shared: see the next line
    GPU-5f6a.share-2.lock   exclusively: one of the workers that share the GPU
    table.lock              exclusively: a process looks at the others now

Without the table, two workers that want two GPUs each could each take one and wait for ever.
"""

import contextlib
import fcntl
import json
import os
import re
import stat
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from inference_worker.errors import BadGpuFolder
from inference_worker.gpu.devices import Gpu

#: Shared by all users and services of a machine, unlike /tmp, of which systemd may give a service
#: its own.  Not shared by containers, which need a volume.
DEFAULT_FOLDER = "/dev/shm/penstock-gpus" if sys.platform == "linux" else "/tmp/penstock-gpus"

#: Longest text of a holder that is read, in bytes: every user of the machine can write it.
_MAX_TEXT_BYTES = 4096
#: Most characters of each of its names.
_MAX_NAME_LENGTH = 100
_MAX_PID = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a GPU, for people.  pid: on that host, or in that container."""

    worker: str = ""
    service: str = ""
    host: str = ""
    pid: int = 0

    def __str__(self) -> str:
        if not self.worker:
            return "a worker whose name is not known"
        return f"{self.worker} of {self.service} (process {self.pid} on {self.host})"


@dataclass(frozen=True, slots=True)
class Claim:
    """Held GPUs, until every process that has these file descriptors ends or closes them."""

    gpus: tuple[Gpu, ...]
    fds: tuple[int, ...]

    def close(self) -> None:
        """Give the GPUs back."""
        for fd in self.fds:
            os.close(fd)


@dataclass(frozen=True, slots=True)
class Held:
    """Not enough GPUs are free: these are held."""

    holders: tuple[tuple[Gpu, Holder], ...]


@dataclass(frozen=True, slots=True)
class Looking:
    """Another process looks at the locks; ask again in a moment."""


class LockFolder:
    """The locks of the GPUs in one folder; raises BadGpuFolder if it cannot be used."""

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            self._make()
            # In a folder that everybody may write to, a symbolic link may be a trap.
            follow = 0 if path != DEFAULT_FOLDER else os.O_NOFOLLOW
            self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | follow)
        except OSError as error:
            raise BadGpuFolder(path, error.strerror or str(error)) from None

    def close(self) -> None:
        """Close the folder; what was claimed stays claimed."""
        os.close(self._fd)

    def take(
        self, gpus: Sequence[Gpu], *, count: int, shares: int, holder: Holder
    ) -> Claim | Held | Looking:
        """Take `count` of these GPUs, or none of them.

        shares: how many workers one GPU may have; with several, the least used GPUs come first.
        """
        with contextlib.ExitStack() as open_files:
            table = self._lock("table", fcntl.LOCK_EX)
            if table is None:
                return Looking()
            open_files.callback(os.close, table)
            taken: list[tuple[Gpu, tuple[int, ...]]] = []
            for gpu in self._by_use(gpus, shares):
                if len(taken) == count:
                    break
                if fds := self._take_one(gpu, shares):
                    taken.append((gpu, fds))
            fds = tuple(fd for _, of_gpu in taken for fd in of_gpu)
            if len(taken) < count:
                for fd in fds:
                    os.close(fd)
                return Held(tuple(self._holders(gpus)))
            for _, of_gpu in taken:
                _write(of_gpu[-1], holder)
            return Claim(tuple(gpu for gpu, _ in taken), fds)

    def holders(self, gpus: Sequence[Gpu]) -> tuple[tuple[Gpu, Holder], ...] | Looking:
        """Return who holds these GPUs now."""
        table = self._lock("table", fcntl.LOCK_EX)
        if table is None:
            return Looking()
        try:
            return tuple(self._holders(gpus))
        finally:
            os.close(table)

    def _by_use(self, gpus: Sequence[Gpu], shares: int) -> list[Gpu]:
        if shares == 1:
            return list(gpus)
        used = {gpu: sum(self._is_held(name) for name in _shares(gpu, shares)) for gpu in gpus}
        return sorted(gpus, key=lambda gpu: used[gpu])

    def _take_one(self, gpu: Gpu, shares: int) -> tuple[int, ...]:
        whole = self._lock(_name(gpu), fcntl.LOCK_EX if shares == 1 else fcntl.LOCK_SH)
        if whole is None:
            return ()
        if shares == 1:
            return (whole,)
        for name in _shares(gpu, shares):
            if (share := self._lock(name, fcntl.LOCK_EX)) is not None:
                return whole, share
        os.close(whole)
        return ()

    def _holders(self, gpus: Sequence[Gpu]) -> Iterator[tuple[Gpu, Holder]]:
        names = sorted(os.listdir(self._fd))
        for gpu in gpus:
            prefix = f"{_name(gpu)}.share-"
            shares = [name.removesuffix(".lock") for name in names if name.startswith(prefix)]
            held = [name for name in shares if self._is_held(name)]
            if not held and self._is_held(_name(gpu)):
                held = [_name(gpu)]
            for name in held:
                yield gpu, self._holder(name)

    def _is_held(self, name: str) -> bool:
        fd = self._lock(name, fcntl.LOCK_EX)
        if fd is not None:
            os.close(fd)
        return fd is None

    def _holder(self, name: str) -> Holder:
        fd = self._open(name)
        try:
            fields = json.loads(os.pread(fd, _MAX_TEXT_BYTES, 0))
            names = {name: _plain(fields[name]) for name in ("worker", "service", "host")}
            pid = int(fields["pid"])
            return Holder(**names, pid=pid) if 0 <= pid <= _MAX_PID else Holder()
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            # It has taken the lock and not written yet, or another user of the machine has: they
            # all can.
            return Holder()
        finally:
            os.close(fd)

    def _lock(self, name: str, kind: int) -> int | None:
        """Return the open, locked file; None if another process holds it."""
        fd = self._open(name)
        try:
            fcntl.flock(fd, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        except OSError as error:
            os.close(fd)
            raise BadGpuFolder(self._path, f"flock: {error.strerror}") from None
        return fd

    def _open(self, name: str) -> int:
        try:
            fd = self._opened(f"{name}.lock")
        except OSError as error:
            raise BadGpuFolder(self._path, error.strerror or str(error)) from None
        about = os.fstat(fd)
        # Not through a link that another user placed, to a file that is not theirs.
        if not stat.S_ISREG(about.st_mode) or about.st_nlink != 1:
            os.close(fd)
            raise BadGpuFolder(self._path, f"{name}.lock is not a plain file")
        return fd

    def _opened(self, name: str) -> int:
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        while True:
            # First without O_CREAT: with it, Linux refuses another user's file in such a folder.
            with contextlib.suppress(FileNotFoundError):
                return os.open(name, flags, dir_fd=self._fd)
            with contextlib.suppress(FileExistsError):
                fd = os.open(name, flags | os.O_CREAT | os.O_EXCL, 0o666, dir_fd=self._fd)
                # Workers of other users write their names into it too, whatever our umask is.
                os.fchmod(fd, 0o666)
                return fd

    def _make(self) -> None:
        path = Path(self._path)
        if not path.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                path.mkdir()
                # As /tmp: everybody adds files, and removes only their own.
                path.chmod(0o1777)


def _name(gpu: Gpu) -> str:
    # The UUID of an old driver's MIG slice has slashes.
    return re.sub(r"[^A-Za-z0-9-]", "_", gpu.uuid)


def _shares(gpu: Gpu, shares: int) -> list[str]:
    return [f"{_name(gpu)}.share-{number}" for number in range(1, shares + 1)]


def _plain(text: object) -> str:
    """Return a name for a log or a terminal, on which control characters would act."""
    return "".join(one if one.isprintable() else "?" for one in str(text)[:_MAX_NAME_LENGTH])


def _write(fd: int, holder: Holder) -> None:
    # On a full disk the lock holds all the same.
    with contextlib.suppress(OSError):
        os.ftruncate(fd, 0)
        os.pwrite(fd, json.dumps(asdict(holder)).encode(), 0)
