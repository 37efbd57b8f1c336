"""The worker protocol: one WebSocket, deliveries out, answers in.

worker                          service
  Hello(uid, window, held)  ->
                            <-  Welcome(lease, lost)
                            <-  Deliveries, Taken
  Completions, Rejections   ->
                            <-  Outcomes
  Renew, SetWindow          ->
  Leave                     ->
                            <-  Leave
"""

import asyncio
import contextlib
import logging
from collections.abc import Sequence

from aiohttp import WSMsgType, web

from client_sdk.cancellation import end_task
from client_sdk.wire import versions
from client_sdk.wire import worker as wire
from client_sdk.wire.codes import CloseCode, Code
from client_sdk.wire.errors import WireError
from client_sdk.wire.events import Events
from queue_service.delivery.subscriber import Ended, Subscriber
from queue_service.errors import CredentialEnded, ServiceError, StoreUnavailable
from queue_service.service.service import Service
from queue_service.store.entry import Delivery
from queue_service.store.owners import Viewer, plain_name
from queue_service.web.body import held_by
from queue_service.web.connection import cut, measure
from queue_service.web.keys import SETTINGS
from queue_service.web.routing import Caller
from queue_service.web.tokens import admission_of, time_limit
from queue_service.web.websocket import (
    CLOSE_TIMEOUT_S,
    CLOSINGS,
    require_upgrade,
    send_ping,
)
from queue_service.web.worker.about import MAX_NAME_LENGTH, about_of, described
from queue_service.web.worker.deliveries import to_rejected, to_wire, with_payload
from queue_service.web.worker.event_recorder import EventRecorder
from queue_service.web.worker.intake import Intake
from queue_service.web.worker.results import convert

log = logging.getLogger(__name__)

#: How long a new connection may take to say Hello, in seconds.
HELLO_TIMEOUT_S = 10.0
#: The least limit of a message, for any payload limit of the sink; and what a message may have
#: above the payload limit, for tags and framing.
LEAST_MESSAGE_BYTES = 16 * 1024 * 1024
FRAMING_BYTES = 1024 * 1024
#: The most answers of one worker that are being stored at once, in bytes and in messages.  Beyond
#: that its connection is not read.
MOST_ANSWERING_BYTES = 32 * 1024 * 1024
MOST_ANSWERING = 256
#: A result waits this long between two looks for room in the file store, in seconds.
ROOM_PAUSE_S = 2.0
#: The longest close reason, in bytes.
MAX_REASON_BYTES = 120


async def serve_work(request: web.Request, caller: Caller) -> web.StreamResponse:
    """Serve one worker until either side ends it."""
    service = caller.service
    require_upgrade(request)
    socket = web.WebSocketResponse(
        autoping=False,
        timeout=CLOSE_TIMEOUT_S,
        max_msg_size=max(LEAST_MESSAGE_BYTES, service.sink.limits.read_bytes + FRAMING_BYTES),
        compress=False,
    )
    await socket.prepare(request)
    connection = _Work(request, socket, service, caller.viewer)
    try:
        await connection.run()
    except CredentialEnded:
        await socket.close(code=CLOSINGS[Ended.REVOKED][0], message=CLOSINGS[Ended.REVOKED][1])
    except _TooOld as error:
        await _close(socket, CloseCode.VERSION_MISMATCH, str(error))
    except _NotBinary as error:
        await _close(socket, CloseCode.UNSUPPORTED, str(error))
    except WireError as error:
        await _close(socket, CloseCode.BAD_MESSAGE, str(error))
    except StoreUnavailable as error:
        await _close(socket, CloseCode.STORE_UNAVAILABLE, str(error))
    except ServiceError as error:
        await _close(socket, CloseCode.GOING_AWAY, str(error))
    except ConnectionResetError:
        log.debug("A worker's connection was reset.")
    return socket


async def _close(socket: web.WebSocketResponse, code: CloseCode, reason: str) -> None:
    await socket.close(code=code, message=reason.encode()[:MAX_REASON_BYTES])


class _NotBinary(WireError):
    def __init__(self) -> None:
        super().__init__("binary messages", "another kind")


class _TooOld(Exception):
    def __init__(self, protocol: int) -> None:
        super().__init__(versions.versions_differ(protocol))


class _Work:
    """One worker's connection."""

    def __init__(
        self,
        request: web.Request,
        socket: web.WebSocketResponse,
        service: Service,
        viewer: Viewer,
    ) -> None:
        self._request = request
        self._socket = socket
        self._service = service
        self._viewer = viewer
        self._admission = admission_of(request)
        self._settings = request.app[SETTINGS]
        self._queue = service.input
        self._events = EventRecorder(service, self._send, self._give_up)
        self._answering: set[asyncio.Task[None]] = set()
        self._intake = Intake(
            held_by(request), self._refuse, message_timeout_s=self._settings.body_timeout_s
        )
        self._refusals: set[asyncio.Task[None]] = set()
        self._answering_bytes = 0
        self._pings: set[asyncio.Task[None]] = set()
        self._takes_files = False

    async def run(self) -> None:
        """Receive Hello, then deliver and listen until the connection ends."""
        measure(self._request, self._intake.arrive)
        try:
            await self._run()
        finally:
            self._intake.close()

    async def _run(self) -> None:
        hello = await self._hello()
        self._takes_files = hello.takes_files
        self._admission.check()
        interface = await self._service.interfaces.connected(hello.interface)
        subscriber, lost = await self._queue.subscribe(
            self._service.workers_gid,
            # Names are kept apart by owner: another owner's worker of this name is another worker.
            self._viewer.stored(hello.uid),
            window=hello.window,
            ping=lambda: send_ping(self._socket, self._pings),
            cut=lambda: cut(self._request),
            own_commits=True,
            about=about_of(hello, interface),
            claims=[(held.index, held.attempt) for held in hello.held],
        )
        log.info("Worker %s has subscribed to %s.", hello.uid, self._service.name)
        self._admission.on_end(lambda: subscriber.end(Ended.REVOKED))
        sending = None
        try:
            await self._send(
                wire.Welcome(
                    service=self._service.name,
                    protocol=min(hello.protocol, versions.PROTOCOL),
                    lease_ms=self._settings.lease_ms,
                    lost=tuple(wire.Held(index, attempt) for index, attempt in lost),
                    leaves=True,
                    inline_bytes=self._inline_bytes(),
                    log_bytes=self._settings.max_log_bytes,
                )
            )
            sending = asyncio.create_task(self._deliver(subscriber))
            await self._listen(subscriber)
        finally:
            if sending is not None:
                await end_task(sending)
            await self._let_go(subscriber)
            log.info("Worker %s has left %s.", hello.uid, self._service.name)

    def _inline_bytes(self) -> int:
        limits = self._service.sink.limits
        return limits.stored_bytes if limits.has_files else 0

    async def _let_go(self, subscriber: Subscriber) -> None:
        """End the subscription; doing it again changes nothing."""
        # What the worker answered before it left is still stored.
        await self._events.noted()
        if self._answering:
            await asyncio.wait(self._answering)
        with contextlib.suppress(ServiceError):
            await asyncio.shield(self._queue.unsubscribe(subscriber))

    async def _hello(self) -> wire.Hello:
        try:
            async with time_limit(self._request, HELLO_TIMEOUT_S):
                message = await self._socket.receive()
        except TimeoutError:
            raise WireError("Hello", f"nothing for {HELLO_TIMEOUT_S:g} s") from None
        if message.type is not WSMsgType.BINARY:
            if message.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED):
                raise ConnectionResetError
            raise _NotBinary
        hello = wire.decode_from_worker(message.data)
        if not isinstance(hello, wire.Hello):
            raise WireError("Hello first", type(hello).__name__)
        if hello.protocol < versions.OLDEST_PROTOCOL:
            raise _TooOld(hello.protocol)
        if not 0 < len(hello.uid) <= MAX_NAME_LENGTH or not hello.uid.isprintable():
            raise WireError(f"a printable uid of 1 to {MAX_NAME_LENGTH} characters", "another")
        if hello.window > self._settings.max_window:
            raise WireError(f"a window of at most {self._settings.max_window}", str(hello.window))
        return hello

    async def _listen(self, subscriber: Subscriber) -> None:
        async for message in self._socket:
            if subscriber.ended is Ended.REVOKED:
                # Nothing more is accepted from it; the loop ends when the socket has closed.
                continue
            subscriber.hear()
            self._intake.complete()
            if message.type is WSMsgType.BINARY:
                decoded = wire.decode_from_worker(message.data)
                await self._handle(subscriber, decoded, len(message.data))
            elif message.type is WSMsgType.PING:
                await self._socket.pong(message.data)
            elif message.type is WSMsgType.TEXT:
                raise _NotBinary

    async def _handle(self, subscriber: Subscriber, message: wire.FromWorker, size: int) -> None:
        match message:
            case wire.Completions() | wire.Rejections():
                # In its own task, so that the next message is read while the store works.
                task = asyncio.create_task(self._answer(subscriber, message, size))
                self._answering_bytes += size
                self._intake.store(size)
                self._answering.add(task)
                task.add_done_callback(self._answering.discard)
                while (
                    self._answering_bytes > MOST_ANSWERING_BYTES
                    or len(self._answering) > MOST_ANSWERING
                ):
                    await asyncio.wait(self._answering, return_when=asyncio.FIRST_COMPLETED)
            case Events(events):
                self._events.note(subscriber, events)
            case wire.SetWindow(window):
                if window > self._settings.max_window:
                    raise WireError(f"a window of at most {self._settings.max_window}", str(window))
                await self._queue.set_window(subscriber, window)
            case wire.Renew(load):
                if load is not None:
                    subscriber.describe(load=described(load))
            case wire.Leave():
                # Its ring comes back to this replica too, which then sends Leave.
                await self._service.tickets.leave([subscriber.uid])
            case wire.Hello():
                raise WireError("Hello once", "a second one")

    async def _answer(
        self, subscriber: Subscriber, message: wire.Completions | wire.Rejections, size: int
    ) -> None:
        """Store answers and send their outcomes."""
        try:
            # If the events before this answer were not stored, the worker sends all of it again.
            if await self._events.noted():
                await self._store(subscriber, message)
        finally:
            self._answering_bytes -= size
            self._intake.stored(size)

    async def _store(
        self, subscriber: Subscriber, message: wire.Completions | wire.Rejections
    ) -> None:
        try:
            if isinstance(message, wire.Completions):
                await self._complete(subscriber, message.completions)
            else:
                await self._confirm(subscriber, await self._reject(subscriber, message))
        except ServiceError as error:
            log.warning(
                "Answers of worker %s were not stored: %s", plain_name(subscriber.uid), error
            )
            await self._give_up(error)

    async def _confirm(self, subscriber: Subscriber, outcomes: Sequence[wire.Outcome]) -> None:
        if outcomes:
            with contextlib.suppress(ConnectionResetError):
                await self._send(wire.Outcomes(tuple(outcomes)))
        ended = sum(
            outcome.code != Code.FRAME_TOO_BIG
            and not subscriber.was_taken(outcome.index, outcome.attempt)
            for outcome in outcomes
        )
        self._queue.reopen(subscriber, ended)

    async def _complete(
        self, subscriber: Subscriber, completions: Sequence[wire.Completion]
    ) -> None:
        """Store results; those that go to files wait for room, and hold up no others.

        Raises FilesFull if the connection ends meanwhile: the worker sends them again on another.
        """
        most_tag_bytes, reported = self._settings.max_header_bytes, False
        while completions:
            found = await convert(
                self._service, subscriber, completions, most_tag_bytes=most_tag_bytes
            )
            accepted = await self._queue.complete(found.done)
            for item, is_accepted in zip(found.items, accepted, strict=True):
                self._events.completed(item, is_accepted=is_accepted)
            # The worker keeps what is too big, and answers it with something smaller.
            outcomes = [_outcome(item, False, Code.FRAME_TOO_BIG) for item in found.too_big]
            outcomes += [_outcome(*pair) for pair in zip(found.items, accepted, strict=True)]
            await self._confirm(subscriber, outcomes)
            if found.full is not None:
                if not reported:
                    name = plain_name(subscriber.uid)
                    log.warning("Results of worker %s wait: %s", name, found.full)
                reported = True
                await asyncio.sleep(ROOM_PAUSE_S)
                if self._socket.closed or subscriber.ended is not None:
                    raise found.full
            completions = found.waiting

    async def _reject(self, subscriber: Subscriber, message: wire.Rejections) -> list[wire.Outcome]:
        for item in message.rejections:
            self._events.ended(item.index)
        accepted = await self._queue.reject(
            [to_rejected(subscriber, item) for item in message.rejections]
        )
        return [_outcome(*pair) for pair in zip(message.rejections, accepted, strict=True)]

    async def _deliver(self, subscriber: Subscriber) -> None:
        with contextlib.suppress(ConnectionResetError):
            while subscriber.ended is None:
                batch = await subscriber.next_batch()
                if subscriber.ended is Ended.REVOKED:
                    break
                # Before the deliveries: the same entry may be delivered again, as another attempt.
                if taken := subscriber.next_taken():
                    await self._send(wire.Taken(tuple(wire.Held(*pair) for pair in taken)))
                await self._send_deliveries(subscriber, batch)
                if stops := subscriber.next_stops():
                    await self._send(wire.Stops(tuple(wire.Held(*pair) for pair in stops)))
                # Last: the worker may end once it has finished what came before.
                if subscriber.next_leave() and subscriber.ended is None:
                    await self._send(wire.Leave())
            if subscriber.ended is Ended.REVOKED:
                # Others get what it holds now, however long it takes to answer the close.
                await asyncio.gather(self._let_go(subscriber), self._close(Ended.REVOKED))
            elif subscriber.ended is not None:
                await self._close(subscriber.ended)

    async def _close(self, ended: Ended) -> None:
        code, reason = CLOSINGS[ended]
        await self._socket.close(code=code, message=reason)

    async def _send_deliveries(self, subscriber: Subscriber, batch: Sequence[Delivery]) -> None:
        for delivery in batch:
            self._events.began(delivery.entry)
        small = [one for one in batch if self._takes_files or not one.entry.files]
        if small:
            await self._send(
                wire.Deliveries(tuple(to_wire(self._service, delivery) for delivery in small))
            )
        # One at a time: each is in memory as a whole.
        for delivery in () if len(small) == len(batch) else batch:
            if self._takes_files or not delivery.entry.files:
                continue
            filled = await with_payload(self._service, subscriber, delivery)
            if filled is not None:
                await self._send(wire.Deliveries((to_wire(self._service, filled),)))

    def _refuse(self, error: ServiceError | None) -> None:
        """Close the connection: there is no space for its message, or it was too slow."""
        reason = "expected the whole message in time, got part" if error is None else str(error)
        if not self._refusals:
            closing = _close(self._socket, CloseCode.TRY_AGAIN_LATER, reason)
            task = asyncio.create_task(closing)
            self._refusals.add(task)
            task.add_done_callback(lambda _: cut(self._request))

    async def _give_up(self, error: ServiceError) -> None:
        """Close the connection: the worker sends everything again on its next one."""
        await _close(self._socket, CloseCode.STORE_UNAVAILABLE, str(error))

    async def _send(self, message: wire.ToWorker) -> None:
        await self._socket.send_bytes(wire.encode_to_worker(message))


def _outcome(
    item: wire.Completion | wire.Rejection, accepted: bool, code: str = Code.LEASE_LOST
) -> wire.Outcome:
    return wire.Outcome(item.index, item.attempt, accepted, "" if accepted else code)
