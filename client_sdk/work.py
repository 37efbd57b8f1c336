"""A worker's connection: receives deliveries, sends completions and rejections.

    async with WorkConnection(url, "demo", token=token, uid="gpu-1", window=5) as connection:
        async for event in connection:
            match event:
                case Delivery():
                    # Start working on it; later, from any task of this loop:
                    outcome = await connection.complete(Completion(...))
                case Lost(deliveries) | Stop(deliveries):
                    # Stop working on these; those of a Stop are then rejected with `Canceled`.

The connection repairs itself.  When it breaks, it connects again, claims the deliveries that the
worker still holds, learns which of them are lost, and sends every unconfirmed answer again.  The
caller notices only `Lost`.
"""

import asyncio
import logging
import uuid
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Self
from urllib.parse import quote

import aiohttp

from client_sdk import errors
from client_sdk.backoff import Backoff
from client_sdk.cancellation import notice_cancellation
from client_sdk.certificates import trusted
from client_sdk.event_buffer import EventBuffer
from client_sdk.held_deliveries import HeldDeliveries
from client_sdk.leave_wish import LeaveWish
from client_sdk.replicas import MOST_WAIT_S, Reconnect, Replicas
from client_sdk.signs_of_life import renew, watch_silence
from client_sdk.token_header import token_header
from client_sdk.unanswered_hellos import UnansweredHellos
from client_sdk.websocket import next_binary, open_websocket
from client_sdk.welcome import checked
from client_sdk.wire import names
from client_sdk.wire.errors import WireError
from client_sdk.wire.events import Event, EventsNoted
from client_sdk.wire.load import Load
from client_sdk.wire.worker import (
    Completion,
    Deliveries,
    Delivery,
    Held,
    Hello,
    Leave,
    Outcome,
    Outcomes,
    Rejection,
    Renew,
    SetWindow,
    Stops,
    Taken,
    ToWorker,
    decode_to_worker,
    encode_from_worker,
)
from client_sdk.work_events import Lost, Stop, WorkStatistics

log = logging.getLogger(__name__)

#: The longest wait for the connection, and again for the Welcome, in seconds.
CONNECT_TIMEOUT_S = 10.0


class WorkConnection:
    """The connection of one worker to the queue service.

    Iterate over it to get `Delivery`, `Lost` and `Stop` in the order of arrival.  The iteration
    ends after `close`, and raises a QueueError if reconnecting cannot help (Unauthorized,
    NoSuchService, BadMessage, TakenOver and similar).  Callers that wait for an outcome get the
    same error.

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
        on_leave: Callable[[], None] | None = None,
        takes_files: bool = False,
        interface: bytes = b"",
        gpus: int = 0,
    ) -> None:
        """Create a connection; nothing is sent before `start`.

        url: the queue service, for example http://127.0.0.1:8080; separate replicas with commas.
        window: the most deliveries that it holds at once.  uid: its name; unique by default.
        version, engine, host, gpu, pid: shown to operators, like the regular reports of `load`.
        ca_file: the trusted certificates; by default those of PENSTOCK_CA_FILE, or the system's.
        on_leave: called, after the last delivery, when the service asks this worker to leave.
        takes_files: whether it fetches the files of a delivery; if not, it gets none with files.
        interface, gpus: its JSON Schemas, and how many GPUs it uses; see `Hello`.
        """
        self._path = names.WORK_PATH.format(service=quote(service, safe=""))
        self._replicas = Replicas(url)
        self._reconnect = Reconnect(self._replicas, backoff or Backoff(most_s=MOST_WAIT_S))
        self._headers = token_header(token, url)
        self.uid = uid or str(uuid.uuid4())
        self._hello = partial(Hello, version=version, engine=engine, host=host, gpu=gpu, pid=pid)
        self._hello = partial(self._hello, takes_files=takes_files, interface=interface, gpus=gpus)
        #: See Welcome; both are 0 before it.
        self.inline_bytes = self.log_bytes = 0
        self._connect_timeout_s, self._load = connect_timeout_s, load
        self._ssl, self._on_leave = trusted(ca_file), on_leave

        self._window, self._window_unsent = window, False
        self._held, self._event_buffer = HeldDeliveries(), EventBuffer()
        self._unanswered, self._leave_wish = UnansweredHellos(), LeaveWish()
        self._events: deque[Delivery | Lost | Stop | Leave] = deque()
        self._arrived, self._to_send = asyncio.Event(), asyncio.Event()
        self._connected = asyncio.Event()
        self._connections, self._heard_at = 0, 0.0
        self._ended: Exception | None = None
        self._duty: asyncio.Task[None] | None = None

    # --- For the caller

    def start(self) -> None:
        """Begin to connect; a second call does nothing."""
        if self._duty is None and self._ended is None:
            self._duty = asyncio.create_task(self._run(), name=f"work connection {self.uid}")

    async def close(self) -> None:
        """Close; held deliveries go to other workers.  A second call does nothing.

        Calls that still wait for an outcome raise `Closed`; await the important ones first.
        """
        self._end(errors.Closed("the work connection was closed", url=self._url))
        if self._duty is not None:
            self._duty.cancel()
            await asyncio.gather(self._duty, return_exceptions=True)

    async def complete(self, completion: Completion) -> Outcome:
        """Complete a delivery, and return the outcome that the service reports.

        Waits across reconnects.  An outcome that is not accepted has the code LEASE_LOST if the
        delivery no longer belongs to this worker, or if this answer was already accepted on a
        connection that broke before it was confirmed.  In both cases the request has its one
        result, or gets it from another worker.  FRAME_TOO_BIG means that the result is too large;
        the delivery is still held and needs another answer.

        Raises the QueueError that ended this connection for good.
        """
        return await self.answer(completion)

    async def reject(self, rejection: Rejection) -> Outcome:
        """Reject a delivery, so that it is delivered again; otherwise like `complete`."""
        return await self.answer(rejection)

    def answer(self, answer: Completion | Rejection) -> asyncio.Future[Outcome]:
        """Send an answer without waiting; return the future of its outcome.

        For callers with many answers at once; `complete` and `reject` await this future.
        """
        if self._ended is not None:
            raise self._ended
        outcome = self._held.answer(answer)
        # The sender wakes after this iteration of the loop: all answers until then are one message.
        self._to_send.set()
        return outcome

    def send_event(self, event: Event) -> None:
        """Send an event of a held delivery whose events are followed."""
        if self._ended is None:
            self._event_buffer.add(event)
            self._to_send.set()

    tell = send_event  # The old name.

    def set_window(self, window: int) -> None:
        """Change the most deliveries that are held at once; 0 while draining."""
        if window != self._window:
            self._window = window
            self._window_unsent = True
            self._to_send.set()

    def ask_to_leave(self) -> bool:
        """Ask for Leave after the last delivery; False if no connected service can do that."""
        self._to_send.set()
        return self._connected.is_set() and self._leave_wish.make()

    async def wait_connected(self) -> None:
        """Wait for the Welcome; raise the error that ended the connection for good."""
        await self._connected.wait()
        if self._ended is not None:
            raise self._ended

    def statistics(self) -> WorkStatistics:
        """Return a snapshot of this connection."""
        return WorkStatistics(
            connected=self._connected.is_set() and self._ended is None,
            connections=self._connections,
            window=self._window,
            working=self._held.working,
            unconfirmed=self._held.answered,
        )

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Delivery | Lost | Stop:
        while True:
            while not self._events:
                if isinstance(self._ended, errors.Closed):
                    raise StopAsyncIteration
                if self._ended is not None:
                    raise self._ended
                self._arrived.clear()
                await self._arrived.wait()
            event = self._events.popleft()
            if not isinstance(event, Leave):
                return event
            if self._on_leave is not None:
                self._on_leave()

    async def __aenter__(self) -> Self:
        self.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    # --- Keeping the connection up

    async def _run(self) -> None:
        """Connect again and again, until an error that reconnecting cannot fix."""
        try:
            connector = aiohttp.TCPConnector(ssl=self._ssl)
            async with aiohttp.ClientSession(connector=connector) as session:
                while True:
                    error = await self._one_connection(session)
                    await asyncio.sleep(self._reconnect.next_delay_s(error))
        except Exception as error:
            # Not swallowed: `_end` passes it to the iteration and to everyone awaiting an outcome.
            self._end(error)

    async def _one_connection(self, session: aiohttp.ClientSession) -> errors.QueueError:
        """Serve one connection and return why it ended; raise if reconnecting cannot help."""
        try:
            await self._serve(session)
        except errors.QueueError as error:
            # A certificate that was trusted before is probably being replaced right now.
            was_trusted = self._connections and isinstance(error, errors.CertificateRefused)
            if not (error.transient or was_trusted or self._unanswered.explains(error)):
                raise
            if error.status == aiohttp.WSCloseCode.MESSAGE_TOO_BIG:
                self._held.shrink()
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
            with self._unanswered.expect_welcome():
                lease_s = await self._greet(websocket)
            # Separate tasks, so that a slow peer that blocks one does not block the others.
            async with asyncio.TaskGroup() as companions, asyncio.timeout(None) as limit:
                companions.create_task(self._send(websocket))
                companions.create_task(renew(websocket, self._load, lease_s=lease_s))
                companions.create_task(
                    watch_silence(limit, lambda: self._heard_at, lease_s=lease_s)
                )
                while True:
                    self._receive(await self._next_message(websocket))
        except BaseExceptionGroup as group:
            notice_cancellation()
            # The first error is the reason; the other tasks were cancelled because of it.
            first = group.exceptions[0]
            if isinstance(first, aiohttp.ClientError | OSError):
                sentence = str(first) or "no data received for the length of the lease"
                raise errors.ConnectionFailed(sentence, url=self._url) from first
            raise first from None
        finally:
            await websocket.close()

    async def _greet(self, websocket: aiohttp.ClientWebSocketResponse) -> float:
        """Send Hello, await Welcome, synchronize both sides; return the lease in seconds."""
        held, leaves = self._held.held(), self._on_leave is not None
        hello = self._hello(self.uid, self._window, held, leaves=leaves, load=self._load())
        self._window_unsent = False
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                await websocket.send_bytes(encode_from_worker(hello))
                welcome = await self._next_message(websocket)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            sentence = str(error) or f"no Welcome within {self._connect_timeout_s:g} s"
            raise errors.ConnectionFailed(sentence, url=self._url) from error
        welcome = checked(welcome, url=self._url)
        self.inline_bytes, self.log_bytes = welcome.inline_bytes, welcome.log_bytes
        self._leave_wish.connected(is_understood=welcome.leaves)
        self._lose(welcome.lost)
        self._held.send_again()
        self._event_buffer.send_again(takes_logs=welcome.log_bytes > 0)
        self._to_send.set()
        self._connections += 1
        self._reconnect.connected()
        self._connected.set()
        return welcome.lease_ms / 1000

    def _receive(self, message: ToWorker) -> None:
        match message:
            case Deliveries(deliveries):
                for delivery in deliveries:
                    self._held.add(delivery)
                self._events.extend(deliveries)
                self._arrived.set()
            case Outcomes(outcomes):
                for outcome in outcomes:
                    self._held.settle(outcome)
            case Taken(deliveries):
                self._lose(deliveries)
            case EventsNoted(noted):
                self._event_buffer.confirm(noted)
            case Stops() | Leave():
                self._events.append(Stop(message.stops) if isinstance(message, Stops) else message)
                self._arrived.set()
            case _:
                raise WireError("anything else", "a second Welcome")

    def _lose(self, lost: Iterable[Held]) -> None:
        stopped = set(self._held.lose(lost))
        if not stopped:
            return
        # Deliveries that the caller has not seen yet are only removed from the queue of events.
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
                    # The load says why the window changes.
                    await websocket.send_bytes(encode_from_worker(Renew(self._load())))
                    await websocket.send_bytes(encode_from_worker(SetWindow(self._window)))
                if self._leave_wish.take_unsent():
                    await websocket.send_bytes(encode_from_worker(Leave()))
                # Events first: a delivery's events must arrive before its answer.
                for batch in self._event_buffer.batches():
                    await websocket.send_bytes(batch)
                for batch in self._held.batches():
                    await websocket.send_bytes(batch)
        except (aiohttp.ClientError, OSError):
            return  # The receiver sees the same end, and reports its reason.

    def _end(self, error: Exception) -> None:
        """Wake everyone who waits; later reasons are ignored."""
        if self._ended is None:
            self._ended = error
            self._events.clear()
            self._held.fail(error)
            self._arrived.set()
            self._connected.set()
