"""One redis-server with a configuration of the test's own, to be killed, frozen and restarted."""

import os
import signal
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from deploy.local.child import Child
from tests.queue_service.store.binaries import Binary
from tests.running import PORTS, free_port
from tests.waiting import wait_until

#: Seconds a server is given to end when it is asked to.
STOP_S = 10.0


async def say(redis: "Redis", *words: Any) -> Any:
    """Send one command and return the reply as it comes."""
    return await redis.execute_command(*words)  # type: ignore[no-untyped-call]


def _free_port() -> int:
    """Return a free port; 10,000 above it, where cluster nodes talk to each other, is as safe."""
    while (port := free_port()) + 10_000 not in PORTS:
        pass
    return port


class Node:
    """A server on 127.0.0.1 with an append-only file that waits for its disk.

    lines: further lines of its configuration; a later one goes before an earlier one.
    sentinel: run it as a sentinel, which writes to its configuration.
    """

    def __init__(
        self, binary: Binary, folder: Path, *lines: str, sentinel: bool = False, password: str = ""
    ) -> None:
        self.binary = binary
        self.port = _free_port()
        self.log: list[str] = []
        self.password = password
        self._folder = folder
        self._sentinel = sentinel
        self._lines = lines
        self._child: Child | None = None

    @property
    def url(self) -> str:
        login = f":{self.password}@" if self.password else ""
        return f"redis://{login}127.0.0.1:{self.port}/0"

    async def start(self) -> "Node":
        """Start it and return when it answers; its data and configuration are kept."""
        self._folder.mkdir(parents=True, exist_ok=True)
        file = self._folder / "redis.conf"
        if not file.exists():
            file.write_text("\n".join(self._configuration()) + "\n")
        argv = [str(self.binary.path), str(file)] + ["--sentinel"] * self._sentinel
        self._child = child = Child.start(
            str(self.binary), argv, cwd=self._folder, on_line=self.log.append
        )

        async def answers() -> bool:
            assert child.exit_code is None, "\n".join(self.log[-20:])
            try:
                async with self.client() as redis:
                    return bool(await redis.ping())
            except (RedisError, OSError):
                return False

        await wait_until(answers, f"{self.binary} answers")
        return self

    def client(self, **options: object) -> "Redis":
        """Return a client of this very server; close it."""
        fields: dict[str, object] = {"password": self.password or None, **options}
        return Redis(
            port=self.port,
            decode_responses=True,
            # Replies as lists, whatever the library takes for its default.
            protocol=2,
            socket_timeout=5,
            retry=Retry(NoBackoff(), 0),
            **fields,  # type: ignore[arg-type]
        )

    async def kill(self) -> None:
        if self._child is not None:
            await self._child.kill()
            self._child = None

    async def stop(self) -> None:
        if self._child is not None:
            self.thaw()
            await self._child.stop(grace_s=STOP_S)
            self._child = None

    def freeze(self) -> None:
        """Stop it without closing its connections, as a hung machine does."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._child is not None and self._child.exit_code is None:
            os.kill(self._child.pid, number)

    def _configuration(self) -> list[str]:
        lines = ["bind 127.0.0.1", f"port {self.port}", "dir .", "daemonize no"]
        if self.password:
            lines.append(f"requirepass {self.password}")
        if not self._sentinel:
            lines += [
                'save ""',
                "appendonly yes",
                "appendfsync always",
                "maxmemory-policy noeviction",
                "repl-diskless-sync yes",
                "repl-diskless-sync-delay 0",
            ]
            if self.password:
                lines.append(f"masterauth {self.password}")
        return [*lines, *self._lines]
