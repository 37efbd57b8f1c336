"""The server: its address, whether it is ready, and how to start it.

With a script the worker starts and stops the server.  Without one the server is managed elsewhere,
and the worker can only wait for it.
"""

import asyncio
import socket
from collections.abc import Callable

import aiohttp
from yarl import URL

from client_sdk.wire.failures import FailureType
from inference_worker.engines.upstream import port_owner
from inference_worker.engines.upstream.child_server import ChildServer
from inference_worker.engines.upstream.options import UpstreamOptions

#: The time between two checks of a server that is not ready, in seconds.
CHECK_INTERVAL_S = 0.1

#: How long one check may take, in seconds; a health path may need to compute something.
CHECK_TIMEOUT_S = 5.0

#: The time between two progress reports during the wait, in seconds.
REPORT_INTERVAL_S = 5.0

#: A dying process closes its connections before it ends; this is the longest delay, in seconds.
DEATH_WAIT_S = 0.3

#: How long a server may take to end after a failed start, in seconds.
GIVE_UP_GRACE_S = 2.0

_LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1", "0.0.0.0")


class NotReady(Exception):
    """The server did not become ready; the message says why."""


class Server:
    """The server that gets the jobs.  `base`: the URL before their sub-paths."""

    def __init__(self, options: UpstreamOptions, session: aiohttp.ClientSession) -> None:
        self._options = options
        self._session = session
        self._child: ChildServer | None = None
        self._claim: socket.socket | None = None
        port = options.port if options.port != 0 else _free_port()
        root = options.url or f"http://127.0.0.1:{port}"
        self.base = root.rstrip("/") + options.path.rstrip("/")
        self._url = URL(root)

    @property
    def child(self) -> ChildServer | None:
        """The process of the server, if it has a script."""
        return self._child

    async def bring_up(self, report: Callable[[float, str], None]) -> None:
        """Start the server, if it has a script, and wait until it is ready; raises NotReady.

        report: called with the used part of the permitted time, and a sentence.
        """
        if self._options.script and (self._child is None or not self._child.running):
            await self._start_child()
        await self._wait_ready(report)

    async def check(self) -> str:
        """Check once; return why it is not ready, "" if it is."""
        if self._child is not None and not self._child.running:
            return await self._child.wait()
        if not self._options.health_path:
            return "" if await self._accepts_connections() else "takes no connection"
        url = self._url.origin().join(URL(self._options.health_path))
        timeout = aiohttp.ClientTimeout(total=CHECK_TIMEOUT_S)
        headers = self._options.send_headers
        try:
            async with self._session.get(
                url, timeout=timeout, headers=headers, allow_redirects=False
            ) as answer:
                is_ready = 200 <= answer.status < 300
                return "" if is_ready else f"answers {answer.status} on {url.path}"
        except (aiohttp.ClientError, OSError):
            return f"does not answer on {url.path}"

    async def how_it_died(self, *, for_client: bool = False) -> str:
        """Return how the child ended, "" if it is still running after a moment.

        A dying process closes its connections a moment before it ends.
        """
        if self._child is None:
            return ""
        ended = self._child.wait_silently() if for_client else self._child.wait()
        try:
            async with asyncio.timeout(DEATH_WAIT_S):
                return await ended
        except TimeoutError:
            return ""

    def death_type(self) -> FailureType:
        """Return the failure type of the jobs that ran when the child died."""
        return self._child.death_type() if self._child else FailureType.ENGINE_LOST

    async def stop(self, grace_s: float) -> None:
        """End the child, if there is one."""
        if self._child is not None:
            child, self._child = self._child, None
            await child.stop(grace_s)
        if self._claim is not None:
            self._claim.close()
            self._claim = None

    async def _start_child(self) -> None:
        if self._is_local and self._claim is None:
            try:
                self._claim = port_owner.claim(self._port)
            except port_owner.PortClaimed as error:
                raise NotReady(self._in_use(str(error))) from error
        if await self._accepts_connections():
            who = port_owner.listener(self._port) if self._is_local else ""
            raise NotReady(self._in_use(who or "another program"))
        try:
            self._child = await ChildServer.start(
                self._options.script, env={"PORT": str(self._url.port)}
            )
        except OSError as error:
            raise NotReady(f"the script cannot be started: {error}") from error

    async def _wait_ready(self, report: Callable[[float, str], None]) -> None:
        loop = asyncio.get_running_loop()
        began_at = reported_at = loop.time()
        permitted_s = self._options.start_timeout_s
        while wrong := await self.check():
            if self._child is not None and not self._child.running:
                raise NotReady(f"the server {wrong}")
            now = loop.time()
            if now - began_at >= permitted_s:
                await self.stop(GIVE_UP_GRACE_S)
                raise NotReady(f"the server {wrong}, after {permitted_s:g} s")
            if now - reported_at >= REPORT_INTERVAL_S:
                reported_at = now
                note = f"After {now - began_at:.0f} s the server {wrong}."
                report((now - began_at) / permitted_s, note)
            await asyncio.sleep(CHECK_INTERVAL_S)
        if self._child is not None and self._is_local:
            # In a thread, because it reads the open files of every process.
            other = await asyncio.to_thread(
                port_owner.listener, self._port, besides=self._child.warden_pid
            )
            if other:
                await self.stop(GIVE_UP_GRACE_S)
                raise NotReady(self._in_use(other))

    @property
    def _port(self) -> int:
        return self._url.port or 0

    @property
    def _is_local(self) -> bool:
        """Whether the port is on this machine, so that its owner can be found."""
        return self._url.host in _LOCAL_HOSTS

    def _in_use(self, by: str) -> str:
        return (
            f"port {self._port} is already in use by {by}: stop that, choose another port, or run "
            "only one instance (`port: 0` takes a free port, passed to the script as PORT)"
        )

    async def _accepts_connections(self) -> bool:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_S):
                _, writer = await asyncio.open_connection(self._url.host, self._url.port)
        except (OSError, TimeoutError):
            return False
        writer.transport.abort()
        return True


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
