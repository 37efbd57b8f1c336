"""The engine `http`: sends every job as one POST to a server.

    ready ── the server died, or a failure and it does not respond ──> away ── it is back ──> ready

While the server is away the capacity is 0.  A job that could not be sent is returned, and does not
use up an attempt; a job that was running has failed, and is delivered again.  If the worker started
the server and it died, the failure is `EngineDied`, because the job may be the cause.
"""

import asyncio
import io
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import BinaryIO

import aiohttp
from yarl import URL

from client_sdk.respawn import Respawn
from client_sdk.wire.codes import SHUTDOWN
from inference_worker.engines.engine import (
    BAD_INPUT,
    ENGINE_DIED,
    Context,
    Engine,
    EngineState,
    Event,
    Failed,
    Finished,
    Health,
    Job,
    Started,
)
from inference_worker.engines.upstream.answer import events_of
from inference_worker.engines.upstream.comfyui import ComfyUIRun
from inference_worker.engines.upstream.options import Mode, UpstreamOptions
from inference_worker.engines.upstream.refused import (
    UPSTREAM_DOWN,
    UPSTREAM_GARBAGE,
    UPSTREAM_TIMEOUT,
)
from inference_worker.engines.upstream.request import CannotBeSent, request_for
from inference_worker.engines.upstream.server import NotReady, Server
from inference_worker.errors import EngineFailed

#: The pauses before a server is restarted or checked again; its run starts when it is ready.
RESPAWN = Respawn(first_s=0.1, longest_s=30.0)

#: The longest time to open a connection, in seconds.
CONNECT_TIMEOUT_S = 10.0

#: How long a job that arrives while the server is away is held before it is returned, in seconds.
#: The service sent it before it knew that the window is 0; returned at once, it might come back at
#: once.
AWAY_WAIT_S = 1.0

#: How long a server may take to end during a restart, in seconds.
RESTART_GRACE_S = 5.0

#: After these codes the engine checks whether the server is still ready.
_DOUBTFUL = (SHUTDOWN, UPSTREAM_DOWN, UPSTREAM_TIMEOUT, UPSTREAM_GARBAGE)

#: The status, as a code, of a server that cannot serve now.
_UNAVAILABLE = "503"

log = logging.getLogger(__name__)


class UpstreamEngine(Engine):
    """Sends jobs to an HTTP server.

    slots: the most jobs at once, unless the options have a smaller number.
    """

    takes_forms = True

    def __init__(self, options: UpstreamOptions, *, slots: int) -> None:
        self._slots = min(slots, options.slots or slots)
        super().__init__(f"http:{_shown(options)}", capacity=self._slots)
        self._options = options
        self._session: aiohttp.ClientSession | None = None
        self._server: Server | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._doubt = asyncio.Event()
        self._back = asyncio.Event()
        self._restarting = ""

    async def start(self, context: Context) -> None:
        """Start the server, if it has a script, and wait until it is ready."""
        self._session = aiohttp.ClientSession(
            # One connection per job.  If a server closes an idle connection just when the next job
            # is sent, that job loses an attempt; a new connection costs only a millisecond.
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            # Cookies of one client's job must not be sent with another client's.
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(
                total=self._options.timeout_s, sock_connect=CONNECT_TIMEOUT_S
            ),
            skip_auto_headers=("Content-Type",),
        )
        self._server = Server(self._options, self._session)
        try:
            await self._server.bring_up(context.progress)
        except NotReady as error:
            await self.stop(0.0)
            raise EngineFailed(self.name, str(error)) from error
        except BaseException:
            # Cancelled while it loads: the worker does not call stop for an engine that is not
            # ready.
            await self.stop(0.0)
            raise
        self._back.set()
        self._keeping = asyncio.create_task(self._keep(self._server), name="upstream server")

    async def run(self, job: Job) -> AsyncGenerator[Event, None]:
        """Send the job and yield the events of the response; a cancel closes the connection."""
        assert self._server is not None, "run before start"
        if not self._back.is_set() and not await self._comes_back():
            yield Failed(SHUTDOWN, "the server is away")
            return
        yield Started()
        try:
            async with aclosing(self._sent(job, self._server.base)) as events:
                async for event in events:
                    if isinstance(event, Failed) and event.code == _UNAVAILABLE:
                        self._doubt_if_it_says()
                    yield event
        except (aiohttp.ClientError, OSError, ValueError) as error:
            failed = _failure(error, self._options)
            if self._restarting:
                # This worker itself closed the connection, by the restart.
                yield Failed(SHUTDOWN, self._restarting)
                return
            if failed.code in _DOUBTFUL:
                self._doubt.set()
            if failed.code == UPSTREAM_DOWN and (
                death := await self._server.how_it_died(for_client=True)
            ):
                kind = self._server.death_type()
                failed = Failed(ENGINE_DIED, f"the server {death}", type=kind)
            yield failed

    def takes_path(self, job: Job) -> bool:
        """Send the file in pieces."""
        return True

    async def health(self) -> Health:
        """Dead while the server is away."""
        if not self._back.is_set():
            return Health(EngineState.DEAD, "the server is away")
        return Health(EngineState.OK)

    async def restart(self, reason: str) -> None:
        """Restart the server, if it has a script, and wait until it is ready.

        Without a script, only check whether the server is ready.
        """
        if self._server is None or not self._back.is_set():
            await self._back.wait()
            return
        if self._server.child is None:
            self._doubt.set()
            return
        self._restarting = reason
        self._back.clear()
        try:
            # `_keep` sees that the server has ended, and starts a new one.
            await self._server.child.stop(RESTART_GRACE_S)
            await self._back.wait()
        finally:
            self._restarting = ""

    async def stop(self, grace_s: float) -> None:
        """Close all connections, then end the server if it has a script."""
        if self._keeping is not None:
            self._keeping.cancel()
            await asyncio.gather(self._keeping, return_exceptions=True)
        if self._session is not None:
            await self._session.close()
        if self._server is not None:
            await self._server.stop(grace_s)

    def _sent(self, job: Job, base: str) -> AsyncGenerator[Event, None]:
        if self._options.mode is Mode.COMFYUI:
            assert self._session is not None, "run before start"
            return ComfyUIRun(self._session, base, job, self._options).events()
        return self._send(job, base)

    async def _send(self, job: Job, base: str) -> AsyncGenerator[Event, None]:
        assert self._session is not None, "run before start"
        request = request_for(job, base, options=self._options)
        async with self._session.post(
            request.url,
            data=await asyncio.to_thread(_body_of, job),
            headers=request.headers,
            allow_redirects=False,
        ) as answer:
            try:
                async with aclosing(events_of(answer, self._options, path=job.path)) as events:
                    async for event in events:
                        yield event
                        if isinstance(event, Finished | Failed):
                            return
            finally:
                # Close it, so that the server stops computing a cancelled job.
                answer.close()

    def _doubt_if_it_says(self) -> None:
        # 503 means overload or illness, and only a health path says which of the two.
        if self._options.health_path:
            self._doubt.set()

    async def _comes_back(self) -> bool:
        try:
            async with asyncio.timeout(AWAY_WAIT_S):
                return await self._back.wait()
        except TimeoutError:
            return False

    # --- Keeping the server running

    async def _keep(self, server: Server) -> None:
        loop = asyncio.get_running_loop()
        ends = 0
        while True:
            ready_at = loop.time()
            cause = await self._away(server)
            self._back.clear()
            self._set_capacity(0)
            log.error("The server %s; it is %s.", cause, self._what_is_done())
            ends = RESPAWN.ends_in_row(ends, lived_s=loop.time() - ready_at)
            while True:
                await asyncio.sleep(RESPAWN.pause_s(ends))
                try:
                    await server.bring_up(_log_waiting)
                    break
                except NotReady as error:
                    ends += 1
                    pause_s = RESPAWN.pause_s(ends)
                    log.error("It is still away: %s; trying again in %.1f s.", error, pause_s)
            log.info("The server is ready.")
            self._doubt.clear()
            self._back.set()
            self._set_capacity(self._slots)

    async def _away(self, server: Server) -> str:
        """Wait until the server is away; return why."""
        while True:
            doubting = asyncio.create_task(self._doubt.wait())
            waits: set[asyncio.Task[bool] | asyncio.Task[str]] = {doubting}
            if server.child is not None:
                waits.add(asyncio.create_task(server.child.wait()))
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                self._doubt.clear()
                if wrong := await server.check():
                    return await server.how_it_died() or wrong
            finally:
                for wait in waits:
                    wait.cancel()

    def _set_capacity(self, capacity: int) -> None:
        self.capacity = capacity
        self.changed()

    def _what_is_done(self) -> str:
        return "started again" if self._options.script else "waited for"


def _failure(error: Exception, options: UpstreamOptions) -> Failed:
    match error:
        case CannotBeSent():
            return Failed(BAD_INPUT, str(error), retryable=False)
        case aiohttp.ClientConnectorError() | aiohttp.ConnectionTimeoutError():
            # The server never got the job, so it does not use up an attempt.
            code, message = SHUTDOWN, f"the server cannot be reached: {error}"
        case TimeoutError():
            code = UPSTREAM_TIMEOUT
            message = f"the server did not answer within {options.timeout_s:g} s"
        case aiohttp.ClientPayloadError():
            code, message = UPSTREAM_DOWN, "the server broke off in the middle of its answer"
        case aiohttp.ClientConnectionError() | OSError():
            code, message = UPSTREAM_DOWN, f"the server closed the connection: {error}"
        case aiohttp.ClientResponseError(message=said):
            code, message = UPSTREAM_GARBAGE, f"the server's answer is no HTTP: {said}"
        case _:
            code, message = UPSTREAM_GARBAGE, f"the server's answer cannot be read: {error}"
    return Failed(code, message)


def _body_of(job: Job) -> BinaryIO:
    # As a file, because aiohttp warns about long bytes; it sends a file in pieces, and closes it.
    return Path(job.payload_path).open("rb") if job.payload_path else io.BytesIO(job.data)


def _log_waiting(fraction: float, note: str) -> None:
    log.info("Waiting, %d %%. %s", fraction * 100, note)


def _shown(options: UpstreamOptions) -> str:
    """Return the server's address, without a password in its URL."""
    if not options.url:
        return str(options.port)
    url = URL(options.url)
    return str(url.with_user(None))
