"""The server: limits the number of connections, and ends those that are too slow."""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from yarl import URL

from client_sdk.cancellation import end_task
from client_sdk.wire.codes import Code
from queue_service.process.metrics import ConnectionMetrics
from queue_service.process.tally import Tally
from queue_service.web.connection import Blockage, Connection
from queue_service.web.error_formats import ErrorFormats
from queue_service.web.keys import ERROR_FORMATS
from queue_service.web.waits import Waits

log = logging.getLogger(__name__)

#: Connections above the limit that still get a proper response: health checks are served, all other
#: requests are refused.
SPARE = 64
#: How long the head of the one request on such a connection may take, in seconds.
SPARE_HEAD_S = 2.0
#: The paths that such a connection is served.
SPARE_PATHS = frozenset(("/healthz", "/readyz", "/metrics"))

#: How often connections are checked, in seconds.
SWEEP_S = 1.0


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """The limits of one process; 0 for no limit.

    header_timeout_s: how long a request's head may take.  send_timeout_s: how long a client may
    read nothing of an answer.
    """

    connections: int
    per_address: int
    header_timeout_s: float
    send_timeout_s: float


MakeRequest = Callable[..., web.BaseRequest]


def without_prefix(prefix: str, make: MakeRequest) -> MakeRequest:
    """Make requests without the prefix in their paths: some proxies pass it on."""

    def make_request(message: Any, *args: Any, **kwargs: Any) -> web.BaseRequest:
        rest = message.path.removeprefix(prefix)
        if rest != message.path and (not rest or rest[0] in "/?"):
            path, mark, query = rest.partition("?")
            url = URL.build(path=path or "/", query_string=query, encoded=True)
            message = message._replace(path=f"{path or '/'}{mark}{query}", url=url)
        return make(message, *args, **kwargs)

    return make_request


class Server(web.Server):
    """Admits connections, and ends those that are too slow."""

    def __init__(
        self,
        made: web.Server,
        limits: ConnectionLimits,
        metrics: ConnectionMetrics,
        errors: ErrorFormats,
        **kwargs: Any,
    ) -> None:
        """Serve what `made` was made to serve; kwargs: those of RequestHandler."""
        super().__init__(made.request_handler, request_factory=made.request_factory, **kwargs)
        self.blocked: dict[Connection, Blockage] = {}
        self._limits = limits
        self._metrics = metrics
        self._errors = errors
        self._heads: Waits[Connection] = Waits(limits.header_timeout_s)
        self._spare_heads: Waits[Connection] = Waits(SPARE_HEAD_S)
        self._open = 0
        self._closes_kept = False
        self._empty = asyncio.Event()
        self._of_address: Counter[str] = Counter()
        self._refusals = Tally(log, "%d connections above the limit were refused, the last of %s.")
        self._late = Tally(log, "%d connections were too slow and were ended, the last of %s.")

    def __call__(self) -> Connection:
        connection = Connection(self, loop=self._loop, **self._kwargs)
        connection.belong_to(self, send_timeout_s=self._limits.send_timeout_s)
        if self._closes_kept:
            connection.serve_with(self._answer_last)
        return connection

    def enter(self, connection: Connection) -> Waits[Connection] | None:
        """Count a new connection; return where it waits for heads, None to refuse it."""
        most, most_of_one = self._limits.connections, self._limits.per_address
        is_spare = most and self._open >= most
        address = connection.address
        if (is_spare and self._open >= most + SPARE) or (
            most_of_one and self._of_address[address] >= most_of_one
        ):
            self._refuse(address)
            return None
        self._open += 1
        self._metrics.open.inc()
        if most_of_one:
            self._of_address[address] += 1
        if not is_spare:
            return self._heads
        connection.serve_with(self._answer_spare)
        return self._spare_heads

    def leave(self, connection: Connection) -> None:
        """Count an ended connection."""
        self._open -= 1
        if not self._open:
            self._empty.set()
        self._metrics.open.dec()
        if self._limits.per_address:
            self._of_address[connection.address] -= 1
            if not self._of_address[connection.address]:
                del self._of_address[connection.address]

    async def close_kept_connections(self, most_s: float) -> None:
        """Close each kept connection with its next response; return when all have ended.

        If we closed an idle one, its client might be sending a request at that moment, and could
        not know whether it was carried out.
        """
        self._closes_kept = True
        for connection in self.connections:
            if isinstance(connection, Connection):
                connection.serve_with(self._answer_last)
        if self._open:
            self._empty.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(most_s):
                    await self._empty.wait()

    async def _answer_last(self, request: web.BaseRequest) -> web.StreamResponse:
        request._message = request._message._replace(should_close=True)
        return await self.request_handler(request)

    async def sweep(self) -> None:
        """End connections that are too slow; runs until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_S)
            now = self._loop.time()
            for connection in self._overdue(now):
                self._metrics.slow_heads.inc()
                self._late.note(connection.address)
                connection.give_up_head()
            for connection, blockage in list(self.blocked.items()):
                most_s = connection.send_timeout_s
                if 0 < most_s <= blockage.look(now, connection.unsent_bytes):
                    self._metrics.slow_readers.inc()
                    self._late.note(connection.address)
                    connection.cut()
            self._refusals.tell()
            self._late.tell()

    def _overdue(self, now: float) -> Iterator[Connection]:
        yield from self._heads.take_overdue(now)
        yield from self._spare_heads.take_overdue(now)

    def _refuse(self, address: str) -> None:
        self._metrics.refused.inc()
        self._refusals.note(address)

    async def _answer_spare(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer on a connection above the limit, and close it."""
        response: web.StreamResponse
        if request.path in SPARE_PATHS:
            response = await self.request_handler(request)
        else:
            self._refuse(request.remote or "")
            sentence = f"this process has {self._limits.connections} connections, and takes no more"
            response = self._errors.render(request, 503, Code.OVERLOADED, sentence)
        response.force_close()
        return response


class Runner(web.AppRunner):
    """Runs an application on a `Server`."""

    def __init__(
        self,
        app: web.Application,
        limits: ConnectionLimits,
        metrics: ConnectionMetrics,
        *,
        root_path: str = "",
        **kwargs: Any,
    ) -> None:
        super().__init__(app, **kwargs)
        self._root_path = root_path.rstrip("/")
        self._limits = limits
        self._metrics = metrics
        self._sweeping: asyncio.Task[None] | None = None

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        if self._root_path:
            made.request_factory = without_prefix(self._root_path, made.request_factory)
        errors = self.app[ERROR_FORMATS]
        server = Server(made, self._limits, self._metrics, errors, **made._kwargs)
        self._sweeping = asyncio.create_task(server.sweep(), name="sweep of connections")
        return server

    async def close_kept_connections(self, most_s: float) -> None:
        """Accept no new connections, and close the kept ones with their next response."""
        for site in list(self.sites):
            await site.stop()
        if isinstance(self.server, Server):
            await self.server.close_kept_connections(most_s)

    async def _cleanup_server(self) -> None:
        if self._sweeping is not None:
            await end_task(self._sweeping)
        await super()._cleanup_server()
