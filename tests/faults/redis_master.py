"""The Redis of a run: its disk can be full, its memory too, and its clock can jump."""

import os
import resource
import shutil
import signal
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.local.child import Child
from deploy.local.redis_server import RedisBinary, RedisServer
from tests.running import free_port

CLOCK_SOURCE = Path(__file__).with_name("clock.c")


class RedisMaster(RedisServer):
    """A redis-server that can be hurt in its own ways.

    has_clock is False where no C compiler is there to build what moves its clock.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "redis", port=free_port())
        self._clock = folder / "clock"
        self._preload = _build_clock(folder / "clock.so")
        self.set_clock(0.0)

    @property
    def has_clock(self) -> bool:
        return self._preload is not None

    def set_clock(self, ahead_s: float) -> None:
        """Let Redis believe that it is so much later than it is."""
        with self._clock.open("r+b" if self._clock.exists() else "wb") as file:
            file.write(struct.pack("q", round(ahead_s * 1_000_000)))

    def fill_disk(self) -> None:
        """Let the append-only file grow by a little more and then not at all."""
        files = [*self.data_dir.glob("appendonlydir/*.aof"), *self.data_dir.glob("*.aof")]
        largest = max((path.stat().st_size for path in files), default=0)
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (largest + 4096, resource.RLIM_INFINITY))

    def free_disk(self) -> None:
        """Let files grow again."""
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, unlimited)

    def send(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    @property
    def ended(self) -> bool:
        """Whether the server has ended by itself."""
        return self._child is None or self._child.exit_code is not None

    def _spawn(self, binary: RedisBinary, port: int) -> Child:
        with _environment(self._preload, self._clock):
            return super()._spawn(binary, port)


@contextmanager
def _environment(preload: Path | None, clock: Path) -> Iterator[None]:
    # The child gets this process's environment; nobody else is to have the other clock.
    if preload is None:
        yield
        return
    os.environ.update(LD_PRELOAD=str(preload), FAULTS_CLOCK=str(clock))
    try:
        yield
    finally:
        del os.environ["LD_PRELOAD"], os.environ["FAULTS_CLOCK"]


def _build_clock(path: Path) -> Path | None:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return None
    argv = [compiler, "-shared", "-fPIC", "-O2", "-o", str(path), str(CLOCK_SOURCE)]
    done = subprocess.run(argv, capture_output=True, check=False, timeout=60)
    return path if done.returncode == 0 else None
