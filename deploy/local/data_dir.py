"""The directory that a local mode lives in, and who may use it.

lock           held by the one local mode that runs here
token          the generated token of the service, kept over restarts      (0600)
worker-token   the same for its workers, who can do nothing but work       (0600)
admin-token    the same for /metrics and /v1/services                      (0600)
running.json   where the running one is to be found, for `penstock put`    (0600)
services/      the services of `penstock create`, with their tokens        (0600)
redis/         the append-only file
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
from deploy.errors import DataDirTaken, NotRunning
from deploy.local.trusted_path import check_secret, check_trusted

#: Where a local mode lives that was not told.
DEFAULT_PATH = Path(".penstock")


def data_option(path: Path) -> str:
    """Return what a command needs in order to find the local mode of this directory."""
    return "" if path == DEFAULT_PATH else f" --data {shlex.quote(str(path))}"


@dataclass(frozen=True, slots=True)
class Running:
    """Where a running local mode is found, and what lets one in.

    control_url, control_token: where it is told which services to run.
    """

    url: str
    service: str
    token: str
    admin_token: str
    pid: int
    control_url: str = ""
    control_token: str = ""


class DataDir:
    """A local mode's directory; it is made when it is first locked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.redis = path / "redis"
        self.services = path / "services"
        self._running = path / "running.json"

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
            # One that was killed has left its announcement, which our lock would make believed.
            self._running.unlink(missing_ok=True)
            try:
                yield
            finally:
                self._running.unlink(missing_ok=True)

    def token(self, name: str) -> str:
        """Return the generated token of this name, the same one each time."""
        path = self.path / name
        if not path.exists():
            write_private(path, new_token() + "\n")
        check_secret(path)
        return path.read_text(encoding="ascii").strip()

    def token_of(self, service: str) -> str:
        """Return the token of a service of `penstock create`; "" when there is none."""
        path = self.services / f"{service}.json"
        if Path(service).name != service or not path.is_file():
            return ""
        return str(json.loads(path.read_text(encoding="utf-8"))["token"])

    def announce(self, running: Running) -> None:
        """Write down where this local mode is found, until the lock is given up."""
        write_private(self._running, json.dumps(asdict(running), indent=2) + "\n")

    def running(self) -> Running:
        """Return where the local mode on this directory is found, or raise `NotRunning`.

        Raises `UntrustedPath`: where others can write they would choose whom we send jobs to.
        """
        if not self._running.exists():
            raise NotRunning(self.path)
        check_trusted(self.path)
        with self._lock_file() as taken:
            # A killed one could not take its announcement with it, but its lock is gone.
            if not taken:
                raise NotRunning(self.path)
        return Running(**json.loads(self._running.read_text(encoding="utf-8")))

    @contextmanager
    def _lock_file(self) -> Iterator[bool]:
        """Try to hold the lock; the value says whether somebody else has it."""
        with (self.path / "lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield True
            else:
                yield False


def write_private(path: Path, text: str) -> None:
    """Write a file that is its owner's from the first moment, and never half there."""
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    new.replace(path)
