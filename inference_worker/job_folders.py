"""The folders for the files of running jobs: private, one for each job, removed after it.

    <base>/lock             held while folders of workers are made and removed
    <base>/<worker>/lock    held by a worker as long as it lives
    <base>/<worker>/<n>     the files of one job

A killed worker leaves its folder.  The next one that starts with this base removes it, because
nobody holds its lock any more.
"""

import fcntl
import itertools
import logging
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO

from inference_worker.errors import BadFilesFolder

log = logging.getLogger(__name__)


def default_base() -> Path:
    """Return the folder that all workers of this user share by default."""
    return Path(tempfile.gettempdir()) / f"penstock-worker-{os.getuid()}"


class JobFolders:
    """The folders of one worker; nothing is made before `open`."""

    def __init__(self, base: Path, name: str) -> None:
        self._base = base
        self._own = base / name
        self._lock: IO[bytes] | None = None
        self._numbers = itertools.count(1)

    @property
    def base(self) -> Path:
        return self._base

    def open(self) -> None:
        """Make the worker's folder, and remove those of dead workers; raises BadFilesFolder."""
        try:
            self._base.mkdir(mode=0o700, parents=True, exist_ok=True)
            if (owner := self._base.stat().st_uid) != os.geteuid():
                raise BadFilesFolder(str(self._base), f"it belongs to the user {owner}")
            with (self._base / "lock").open("wb") as guard:
                fcntl.flock(guard, fcntl.LOCK_EX)
                self._remove_left()
                self._own.mkdir(mode=0o700, exist_ok=True)
                self._lock = (self._own / "lock").open("wb")
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BadFilesFolder(str(self._base), error.strerror or str(error)) from error

    def next(self) -> Path:
        """Return the folder of another job, which its first user makes."""
        return self._own / str(next(self._numbers))

    def close(self) -> None:
        """Remove everything."""
        if self._lock is not None:
            remove(self._own)
            self._lock.close()
            self._lock = None

    def _remove_left(self) -> None:
        for folder in self._base.iterdir():
            if not folder.is_dir() or folder.is_symlink():
                continue
            # Without a lock it was being made when its worker was killed.
            with suppress(FileNotFoundError), (folder / "lock").open("rb") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
            log.info("Removing the files of a worker that was killed: %s", folder)
            remove(folder)


def is_there(folder: Path) -> bool:
    """Return whether the folder of a job was made.  Quick enough for the event loop."""
    return folder.exists()


def remove(folder: Path) -> None:
    """Remove a folder; one that does not exist is no error."""
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        pass
    except OSError as error:
        log.warning("The files of a job cannot be removed: %s", error)
