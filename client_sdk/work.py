"""A worker's connection: deliveries in; completions and rejections out.

    async with WorkConnection(url, "demo", token=token, uid="gpu-1", window=5) as connection:
        async for event in connection:
            match event:
                case Delivery():
                    # Start working on it; later, from any task of this loop:
                    outcome = await connection.complete(Completion(...))
                case Lost(deliveries) | Stop(deliveries):
                    # Stop working on these; those of a Stop are then rejected with `Canceled`.

The connection keeps itself up.  When it breaks it connects again, claims what the worker
still holds, is told what of that is lost, and sends every answer again that was not
confirmed.  The owner sees nothing of it but `Lost`.
"""

import asyncio
import logging
import uuid
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from types import TracebackType
from typing import Self
from urllib.parse import quote

import aiohttp

from client_sdk import errors
from client_sdk.backoff import Backoff
from client_sdk.certificates import trusted
from client_sdk.holding import Holding
from client_sdk.replicas import MOST_WAIT_S, Reconnect, Replicas
from client_sdk.telling import Telling
from client_sdk.undecided import Undecided
from client_sdk.websocket import next_binary, open_websocket
from client_sdk.wire import names
from client_sdk.wire.errors import WireError
from client_sdk.wire.events import Event, EventsNoted
from client_sdk.wire.load import Load
from client_sdk.wire.versions import OLDEST_PROTOCOL, PROTOCOL, versions_differ
from client_sdk.wire.worker import (
    Completion,
    Deliveries,
    Delivery,
    Held,
    Hello,
    Outcome,
    Outcomes,
    Rejection,
    Renew,
    SetWindow,
    Stops,
    Taken,
    ToWorker,
    Welcome,
    decode_to_worker,
    encode_from_worker,
)
from client_sdk.work_events import Lost, Stop
from client_sdk.work_statistics import WorkStatistics

log = logging.getLogger(__name__)

#: The longest wait for the connection and, after it, for the Welcome, in seconds.
CONNECT_TIMEOUT_S = 10.0


class WorkConnection:
    """One worker, as the queue service sees it.

    Iterating yields `Delivery`, `Lost` and `Stop` in the order in which they came.  It ends after
    `close`, and raises a QueueError when connecting again cannot help: Unauthorized,
    NoSuchService, BadMessage, TakenOver and their like.  Such an error also reaches everybody
    who waits for an outcome.

    All methods belong to the event loop that `start` was called in.
    """

    def __init__(
        self,
        url: str,
        service: str,
        *,
        window: int,
        token: str = "",
        uid: str = "",
        version: str = "",
        engine: str = "",
        host: str = "",
        gpu: str = "",
        pid: int = 0,
        backoff: Backoff | None = None,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        load: Callable[[], Load | None] = lambda: None,
        ca_file: str = "",
    ) -> None:
        """Describe a connection; nothing is sent before `start`.

        url: the queue service, for example http://127.0.0.1:8080; several replicas with commas.
        window: how many deliveries the worker takes at once.
        uid: names this worker process; by default a name nobody else has.
        version, engine, host, gpu, pid, and again and again what `load` returns: for operators.
        ca_file: the certificates that are trusted; by default PENSTOCK_CA_FILE's or the system's.
        """
        self._path = names.WORK_PATH.format(service=quote(service, safe=""))
        self._replicas = Replicas(url)
        self._reconnect = Reconnect(self._replicas, backoff or Backoff(most_s=MOST_WAIT_S))
        self._headers = {"Authorization": token} if token else {}
        self.uid = uid or str(uuid.uuid4())
        self._hello = partial(Hello, version=version, engine=engine, host=host, gpu=gpu, pid=pid)
        self._connect_timeout_s, self._load = connect_timeout_s, load
        self._ssl = trusted(ca_file)

        self._window, self._window_unsent = window, False
        self._holding, self._telling, self._undecided = Holding(), Telling(), Undecided()
        self._events: deque[Delivery | Lost | Stop] = deque()
        self._arrived, self._to_send = asyncio.Event(), asyncio.Event()
        self._connected = asyncio.Event()
        self._connections, self._heard_at = 0, 0.0
        self._ended: Exception | None = None
        self._duty: asyncio.Task[None] | None = None

    # --- What the owner does

    def start(self) -> None:
        """Begin to connect; a second call does nothing."""
        if self._duty is None and self._ended is None:
            self._duty = asyncio.create_task(self._run(), name=f"work connection {self.uid}")

    async def close(self) -> None:
        """Leave: what is still held goes to other workers.  A second call does nothing.

        Whoever still waits for an outcome gets `Closed`; await what matters first.
        """
        self._end(errors.Closed("the work connection was closed", url=self._url))
        if self._duty is not None:
            self._duty.cancel()
            await asyncio.gather(self._duty, return_exceptions=True)

    async def complete(self, completion: Completion) -> Outcome:
        """Answer that a delivery is done, and return what the service said to that.

        Waits through reconnects.  An outcome that is not accepted has the code LEASE_LOST when
        the delivery is no longer this worker's, or when an earlier sending of this very answer
        was accepted on a connection that broke before it could say so; both mean that the
        request has its one result or will have it from somebody else.  FRAME_TOO_BIG means that
        the result does not fit; the delivery is then still held and wants another answer.

        Raises the QueueError that ended this connection for good.
        """
        return await self.answer(completion)

    async def reject(self, rejection: Rejection) -> Outcome:
        """Answer that a delivery was not done and is to go out again; otherwise as `complete`."""
        return await self.answer(rejection)

    def answer(self, answer: Completion | Rejection) -> asyncio.Future[Outcome]:
        """Give an answer without waiting; the outcome will be in the future.

        For callers with many answers at once: `complete` and `reject` are this and the wait.
        """
        if self._ended is not None:
            raise self._ended
        outcome = self._holding.answer(answer)
        # The sender wakes at the end of this turn of the loop: what is answered until then
        # leaves in one message.
        self._to_send.set()
        return outcome

    def tell(self, event: Event) -> None:
        """Say what an engine has told of a delivery that is held, and whose events are wanted."""
        if self._ended is None:
            self._telling.tell(event)
            self._to_send.set()

    def set_window(self, window: int) -> None:
        """Take this many deliveries at once from now on; 0 while draining."""
        if window != self._window:
            self._window = window
            self._window_unsent = True
            self._to_send.set()

    async def wait_connected(self) -> None:
        """Wait until the service has said Welcome; raise what ended the connection for good."""
        await self._connected.wait()
        if self._ended is not None:
            raise self._ended

    def statistics(self) -> WorkStatistics:
        """Return a snapshot of this connection."""
        return WorkStatistics(
            connected=self._connected.is_set() and self._ended is None,
            connections=self._connections,
            window=self._window,
            working=self._holding.working,
            unconfirmed=self._holding.answered,
        )

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Delivery | Lost | Stop:
        while not self._events:
            if isinstance(self._ended, errors.Closed):
                raise StopAsyncIteration
            if self._ended is not None:
                raise self._ended
            self._arrived.clear()
            await self._arrived.wait()
        return self._events.popleft()

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    # --- Keeping the connection up

    async def _run(self) -> None:
        """Connect, again and again, until it cannot help any more."""
        try:
            connector = aiohttp.TCPConnector(ssl=self._ssl)
            async with aiohttp.ClientSession(connector=connector) as session:
                while True:
                    error = await self._one_connection(session)
                    await asyncio.sleep(self._reconnect.next_delay_s(error))
        except Exception as error:
            # Not swallowed: whoever iterates or waits for an outcome gets it.
            self._end(error)

    async def _one_connection(self, session: aiohttp.ClientSession) -> errors.QueueError:
        """Serve one connection and return its end; raise only what the next one could not cure."""
        try:
            await self._serve(session)
        except errors.QueueError as error:
            # A certificate that was trusted will be so again.
            passes = self._connections and isinstance(error, errors.CertificateRefused)
            if not (error.transient or passes or self._undecided.explains(error)):
                raise
            if error.status == aiohttp.WSCloseCode.MESSAGE_TOO_BIG:
                self._holding.shrink()
            log.warning("The work connection of %s ended: %s", self.uid, error)
            return error
        except WireError as error:
            raise errors.BadMessage(str(error), url=self._url) from error
        finally:
            self._connected.clear()
        return errors.ConnectionFailed("the connection ended", url=self._url)

    @property
    def _url(self) -> str:
        return self._replicas.current + self._path

    async def _serve(self, session: aiohttp.ClientSession) -> None:
        websocket = await open_websocket(
            session, self._url, headers=self._headers, timeout_s=self._connect_timeout_s
        )
        try:
            with self._undecided.unless_welcomed():
                lease_s = await self._greet(websocket)
            # Tasks of their own, so that a slow peer that blocks one does not block the others.
            async with asyncio.TaskGroup() as companions, asyncio.timeout(None) as silence:
                companions.create_task(self._send(websocket))
                companions.create_task(self._renew(websocket, lease_s))
                companions.create_task(self._watch_silence(silence, lease_s))
                while True:
                    self._receive(await self._next_message(websocket))
        except BaseExceptionGroup as group:
            # The first to fail says why; the others were cancelled because of it.
            first = group.exceptions[0]
            if isinstance(first, aiohttp.ClientError | OSError):
                sentence = str(first) or "nothing was heard for the length of the lease"
                raise errors.ConnectionFailed(sentence, url=self._url) from first
            raise first from None
        finally:
            await websocket.close()

    async def _greet(self, websocket: aiohttp.ClientWebSocketResponse) -> float:
        """Say Hello, await the Welcome, put both sides in step; return the lease in seconds."""
        hello = self._hello(self.uid, self._window, self._holding.held())
        self._window_unsent = False
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                await websocket.send_bytes(encode_from_worker(hello))
                welcome = await self._next_message(websocket)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            sentence = str(error) or f"no Welcome within {self._connect_timeout_s:g} s"
            raise errors.ConnectionFailed(sentence, url=self._url) from error
        if not isinstance(welcome, Welcome):
            raise WireError("a Welcome", repr(welcome)[:80])
        if not OLDEST_PROTOCOL <= welcome.protocol <= PROTOCOL:
            raise errors.VersionMismatch(versions_differ(welcome.protocol), url=self._url)
        if welcome.lease_ms <= 0:
            raise WireError("a lease above zero", f"{welcome.lease_ms} ms")

        self._lose(welcome.lost)
        self._holding.send_again()
        self._telling.send_again()
        self._to_send.set()
        self._connections += 1
        self._reconnect.connected()
        self._connected.set()
        return welcome.lease_ms / 1000

    def _receive(self, message: ToWorker) -> None:
        match message:
            case Deliveries(deliveries):
                for delivery in deliveries:
                    self._holding.take(delivery)
                self._events.extend(deliveries)
                self._arrived.set()
            case Outcomes(outcomes):
                for outcome in outcomes:
                    self._holding.settle(outcome)
            case Taken(deliveries):
                self._lose(deliveries)
            case EventsNoted(noted):
                self._telling.settle(noted)
            case Stops(stops):
                self._events.append(Stop(stops))
                self._arrived.set()
            case _:
                raise WireError("anything else", "a second Welcome")

    def _lose(self, lost: Iterable[Held]) -> None:
        stopped = set(self._holding.lose(lost))
        if not stopped:
            return
        # What the owner has not seen yet needs no stopping: it simply does not come.
        unseen = {Held(e.index, e.attempt) for e in self._events if isinstance(e, Delivery)}
        self._events = deque(
            event
            for event in self._events
            if not (isinstance(event, Delivery) and Held(event.index, event.attempt) in stopped)
        )
        seen = sorted(stopped - unseen, key=lambda held: (held.index, held.attempt))
        if seen:
            self._events.append(Lost(tuple(seen)))
            self._arrived.set()

    async def _next_message(self, websocket: aiohttp.ClientWebSocketResponse) -> ToWorker:
        return decode_to_worker(await next_binary(websocket, url=self._url, heard=self._hear))

    def _hear(self) -> None:
        self._heard_at = asyncio.get_running_loop().time()

    async def _send(self, websocket: aiohttp.ClientWebSocketResponse) -> None:
        try:
            while True:
                await self._to_send.wait()
                self._to_send.clear()
                if self._window_unsent:
                    self._window_unsent = False
                    await websocket.send_bytes(encode_from_worker(SetWindow(self._window)))
                # First what was told, so that a delivery's events come before its answer.
                for batch in self._telling.batches():
                    await websocket.send_bytes(batch)
                for batch in self._holding.batches():
                    await websocket.send_bytes(batch)
        except (aiohttp.ClientError, OSError):
            return  # The receiving side meets the same end and knows its reason.

    async def _renew(self, websocket: aiohttp.ClientWebSocketResponse, lease_s: float) -> None:
        try:
            while True:
                await asyncio.sleep(lease_s / 3)
                await websocket.send_bytes(encode_from_worker(Renew(self._load())))
        except (aiohttp.ClientError, OSError):
            return  # As in `_send`.

    async def _watch_silence(self, silence: asyncio.Timeout, lease_s: float) -> None:
        """End a connection on which nothing was heard for a lease; TCP may notice much later."""
        loop = asyncio.get_running_loop()
        while True:
            # The service pings every third of it.  To look once in each third would find its end
            # up to a third too late.
            left_s = self._heard_at + lease_s - loop.time()
            if left_s <= 0:
                silence.reschedule(loop.time())
                return
            await asyncio.sleep(left_s)

    def _end(self, error: Exception) -> None:
        """Tell everybody that waits; the first reason stays."""
        if self._ended is None:
            self._ended = error
            self._events.clear()
            self._holding.fail(error)
            self._arrived.set()
            self._connected.set()
