"""The data directory of a local mode.

lock           held by the local mode that runs here
token          the generated token of the service that `up` makes          (0600)
worker-token   the token of its workers, which allows nothing else         (0600)
admin-token    the token for /metrics and /v1/services                     (0600)
running.json   the URLs and tokens of the running local mode               (0600)
redis-url      the address and the password of its Redis, for backups      (0600)
services/      a file for each service, with its tokens                    (0600)
redis/         the append-only file
restoring      there while a restore writes the others, and after one that was killed
"""

import fcntl
import json
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from client_sdk.wire.tokens import new_token
from deploy.errors import DataDirTaken, NotRunning, RestoreUnfinished
from deploy.local.trusted_path import check_secret, check_trusted

#: The default directory.
DEFAULT_PATH = Path(".penstock")


def data_option(path: Path) -> str:
    """Return the option with which a command finds the local mode of this directory."""
    return "" if path == DEFAULT_PATH else f" --data {shlex.quote(str(path))}"


@dataclass(frozen=True, slots=True)
class Running:
    """The URLs and tokens of a running local mode.

    control_url, control_token: of its control API, which changes services.
    """

    url: str
    service: str
    token: str
    admin_token: str
    pid: int
    control_url: str = ""
    control_token: str = ""


class DataDir:
    """A local mode's directory; the first lock creates it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.redis = path / "redis"
        self.services = path / "services"
        self.files = path / "files"
        self._running = path / "running.json"
        self._restoring = path / "restoring"
        self._redis_url = path / "redis-url"

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the directory; raise `DataDirTaken` when another process holds it.

        Raises `UntrustedPath` when another user could change what is in it.
        """
        check_trusted(self.path)
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        check_trusted(self.path)
        with self._lock_file() as taken:
            if taken:
                raise DataDirTaken(self.path)
            # A killed local mode has left its announcement, which our lock would make valid again.
            self._forget()
            try:
                yield
            finally:
                self._forget()

    @contextmanager
    def restoring(self) -> Iterator[None]:
        """Mark what is there as a part until the end; a kill leaves the mark.  Locked."""
        write_private(self._restoring, "")
        try:
            yield
        finally:
            self._restoring.unlink(missing_ok=True)

    def check_whole(self) -> None:
        """Raise `RestoreUnfinished` if a restore was killed.  Locked."""
        if self._restoring.exists():
            raise RestoreUnfinished(self.path)

    def _forget(self) -> None:
        self._running.unlink(missing_ok=True)
        self._redis_url.unlink(missing_ok=True)

    def token(self, name: str) -> str:
        """Return the generated token of this name, the same each time."""
        path = self.path / name
        if not path.exists():
            write_private(path, new_token() + "\n")
        check_secret(path)
        return path.read_text(encoding="ascii").strip()

    def token_of(self, service: str) -> str:
        """Return the token of a service; "" when there is no file of it."""
        path = self.services / f"{service}.json"
        if Path(service).name != service or not path.is_file():
            return ""
        return str(json.loads(path.read_text(encoding="utf-8"))["token"])

    def announce(self, running: Running, *, redis_url: str = "") -> None:
        """Write running.json and redis-url, which stay until the lock is released."""
        write_private(self._redis_url, redis_url + "\n")
        write_private(self._running, json.dumps(asdict(running), indent=2) + "\n")

    def running(self) -> Running:
        """Return the URLs and tokens of the running local mode, or raise `NotRunning`.

        Raises `UntrustedPath`: a user who can write here could redirect our jobs.
        """
        if not self._running.exists():
            raise NotRunning(self.path)
        check_trusted(self.path)
        with self._lock_file() as taken:
            # A killed local mode leaves its announcement behind, but not its lock.
            if not taken:
                raise NotRunning(self.path)
        return Running(**json.loads(self._running.read_text(encoding="utf-8")))

    def redis_url(self) -> str:
        """Return the address of the Redis of the running local mode; "" of an older version's."""
        found = self._redis_url
        return found.read_text(encoding="utf-8").strip() if found.exists() else ""

    @contextmanager
    def _lock_file(self) -> Iterator[bool]:
        """Try to hold the lock; yield whether another process has it."""
        with (self.path / "lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield True
            else:
                yield False


def write_private(path: Path, text: str) -> None:
    """Write a file in one step, readable only by its owner from the first moment."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    new.replace(path)
