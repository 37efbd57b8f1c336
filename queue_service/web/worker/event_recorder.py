"""The events that a worker reports of running deliveries, and how long their runs take."""

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

from client_sdk.wire import events as wire
from client_sdk.wire.artifacts import read_added
from client_sdk.wire.errors import WireError
from client_sdk.wire.job_log import read_lines
from client_sdk.wire.names import ERROR_CODE_TAG
from client_sdk.wire.worker import Completion, ToWorker
from queue_service.delivery.subscriber import Subscriber
from queue_service.errors import ServiceError
from queue_service.service.file_errors import NoFileStore, NoSuchFile
from queue_service.service.service import Service
from queue_service.store.activity import EndedRun
from queue_service.store.artifacts import Artifact, write_artifacts
from queue_service.store.entry import Entry
from queue_service.store.owners import plain_name
from queue_service.store.ticket import Noted

log = logging.getLogger(__name__)

#: The largest JSON of one event, in bytes; pieces of output may be larger.
MAX_JSON_BYTES = 64 * 1024


class EventRecorder:
    """Stores the events of one connection.

    send: sends a message to the worker.  give_up: ends the connection when the store does not take
    the events; the worker keeps them, and sends them again on its next connection.
    """

    def __init__(
        self,
        service: Service,
        send: Callable[[ToWorker], Awaitable[None]],
        give_up: Callable[[ServiceError], Awaitable[None]],
    ) -> None:
        self._service = service
        self._tickets = service.tickets
        self._send = send
        self._give_up = give_up
        self._noting: set[asyncio.Task[None]] = set()
        self._broken = False
        #: Events must be stored in their order, although those of artifacts need a look before.
        self._in_order = asyncio.Lock()
        #: When each delivery was sent, and how long its entry had waited then, in ms.
        self._began: dict[int, tuple[float, int]] = {}

    def note(self, subscriber: Subscriber, events: tuple[wire.Event, ...]) -> None:
        """Begin to store events; raises WireError for an invalid one."""
        for event in events:
            _check(event)
        task = asyncio.create_task(self._note(subscriber, events))
        self._noting.add(task)
        task.add_done_callback(self._noting.discard)

    async def noted(self) -> bool:
        """Wait until all events so far are stored; False when one could not be."""
        if self._noting:
            await asyncio.wait(set(self._noting))
        return not self._broken

    def began(self, entry: Entry) -> None:
        """Note that a delivery is sent now."""
        wait_ms = max(0, round(time.time() * 1000) - entry.stored_at_ms)
        self._began[entry.index] = (time.monotonic(), wait_ms)

    def ended(self, index: int) -> None:
        """Note that a delivery has ended without a result."""
        self._began.pop(index, None)

    def completed(self, item: Completion, *, is_accepted: bool) -> None:
        """Note that a delivery was answered with a result; it says how long a run takes."""
        began = self._began.pop(item.index, None)
        if not is_accepted or began is None:
            return
        began_at, wait_ms = began
        run_s = time.monotonic() - began_at
        self._tickets.note_run(run_s)
        # `failed` alone does not say it: a failure that the client caused has none.
        is_error = item.result is not None and ERROR_CODE_TAG in item.result.tags
        failed = is_error or item.failed is not None
        self._service.activity.note(EndedRun(wait_ms, round(run_s * 1000), failed))

    async def _note(self, subscriber: Subscriber, events: tuple[wire.Event, ...]) -> None:
        newest: dict[tuple[int, int], int] = {}
        added: list[Artifact] = []
        try:
            async with self._in_order:
                items = []
                for event in events:
                    newest[event.index, event.attempt] = event.number
                    item = _noted(subscriber, event)
                    if event.kind == wire.ARTIFACT:
                        found = await self._artifacts(event)
                        added += found
                        if not found:
                            continue
                        most = self._service.artifact_bytes
                        item = replace(item, data=write_artifacts(found), artifact_bytes=most)
                    items.append(item)
            # In the same turn of the loop, so before the events that wait for the lock.
            await self._tickets.note(items)
            # A lost delivery adds nothing.
            await self._service.files.settle([one.file for one in added])
        except ServiceError as error:
            log.warning(
                "Events of worker %s were not stored: %s", plain_name(subscriber.uid), error
            )
            self._broken = True
            await self._give_up(error)
            return
        noted = tuple(wire.EventNoted(*key, number) for key, number in newest.items())
        with contextlib.suppress(ConnectionResetError):
            await self._send(wire.EventsNoted(noted))

    async def _artifacts(self, event: wire.Event) -> list[Artifact]:
        """Return the artifacts of an event whose files this worker's service has."""
        found = []
        for one in read_added(json.loads(event.data)):
            try:
                file = await self._service.files.made_by_worker(one.id)
            except (NoSuchFile, NoFileStore):
                log.warning("The artifact %r of %s has no file.", one.name, event.request_id)
                continue
            found.append(Artifact(one.name, file))
        return found


def _noted(subscriber: Subscriber, event: wire.Event) -> Noted:
    return Noted(
        gid=subscriber.gid,
        uid=subscriber.uid,
        index=event.index,
        attempt=event.attempt,
        request_id=event.request_id,
        said=event.number,
        kind=event.kind,
        data=event.data,
        tokens=event.tokens,
        chunks=event.chunks,
    )


def _check(event: wire.Event) -> None:
    if event.kind not in wire.KINDS:
        raise WireError(f"an event of a kind in {wire.KINDS}", repr(event.kind[:64]))
    if event.kind == wire.DELTA:
        return
    if len(event.data) > MAX_JSON_BYTES:
        raise WireError(f"an event of at most {MAX_JSON_BYTES} bytes", str(len(event.data)))
    try:
        reported = json.loads(event.data)
    except (ValueError, RecursionError):
        reported = None
    if not isinstance(reported, dict):
        raise WireError("an event with a JSON object", "something else")
    if event.kind == wire.ARTIFACT:
        read_added(reported)
    elif event.kind == wire.LOG:
        read_lines(reported)
