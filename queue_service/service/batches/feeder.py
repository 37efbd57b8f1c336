"""Runs one batch under its lease: validates it, runs its lines, publishes its files.

Everything that must survive is in the index and in the folder of the batch, so another process can
go on at any point.
"""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from queue_service.delivery.doorbell import Doorbell
from queue_service.errors import ServiceError, StoreUnavailable
from queue_service.service.batches import progress
from queue_service.service.batches.desk import Desk
from queue_service.service.batches.folder import BatchFolder
from queue_service.service.batches.jobs import Jobs, patiently
from queue_service.service.batches.line_window import LineWindow
from queue_service.service.batches.plan import Abandoned, BadLines, LineError, make_plan
from queue_service.service.batches.publishing import publish
from queue_service.service.files import FileOwner
from queue_service.service.service import Service
from queue_service.store.batch import Lease, State, Status

log = logging.getLogger(__name__)

#: How long a lease lasts, in ms, and how often it is extended, in seconds.
LEASE_MS, BEAT_S = 10_000, 1.0


class LeaseLost(Exception):
    """Another process runs the batch now."""


class Feeder:
    """Runs one batch, until it ends or the lease is lost."""

    def __init__(self, desk: Desk, folder: BatchFolder, lease: Lease) -> None:
        self._desk = desk
        self._folder = folder
        self._lease = lease
        self._about = lease.batch.about
        self._state = lease.batch.state
        self._canceled = lease.batch.canceled_at_ms > 0
        self._is_lost = False
        #: Rings at each beat, so that what waits asks again whether it must stop.
        self._bell = Doorbell()

    async def run(self) -> None:
        """Run it; raises LeaseLost.  If this is cancelled, the lease is given back."""
        beating = asyncio.create_task(self._keep_lease(), name=f"lease {self._about.id}")
        working = asyncio.create_task(self._work(), name=f"batch {self._about.id}")
        try:
            await asyncio.wait((beating, working), return_when=asyncio.FIRST_COMPLETED)
            (working if working.done() else beating).result()
        except asyncio.CancelledError:
            await _end(working, beating)
            await self._give_back()
            raise
        finally:
            self._is_lost = True
            await _end(working, beating)

    async def _give_back(self) -> None:
        try:
            await self._desk.index.write(self._lease, None, lease_ms=0)
        except ServiceError as error:
            log.debug("The lease of %s ends by itself: %s", self._about.id, error)

    def _stop_code(self) -> str | None:
        """Return why no further line runs, as the code of those that do not."""
        if self._canceled:
            return progress.CANCELLED
        if self._desk.now_ms() >= self._about.expires_at_ms:
            return progress.EXPIRED
        return None

    async def _keep_lease(self) -> None:
        while True:
            await asyncio.sleep(BEAT_S)
            try:
                await self._write(None)
            except StoreUnavailable as error:
                # While the store is away nobody else takes the lease; afterwards, writing tells.
                log.debug("The lease of %s was not extended: %s", self._about.id, error)
            self._bell.ring()

    async def _write(self, state: State | None) -> None:
        """Write the state, or only extend the lease; raises LeaseLost or StoreUnavailable."""
        canceled_at = await self._desk.index.write(self._lease, state, lease_ms=LEASE_MS)
        if canceled_at is None:
            self._is_lost = True
            raise LeaseLost
        self._canceled = self._canceled or canceled_at > 0

    async def _store(self, state: State) -> None:
        await patiently(partial(self._write, state))
        self._state = state

    async def _become(self, status: Status, changes: Mapping[str, Any] | None = None) -> None:
        state = replace(self._state, **(changes or {}))
        await self._store(state.becomes(status, self._desk.now_ms()))

    async def _work(self) -> None:
        try:
            await self._work_in_folder()
        except FileNotFoundError as error:
            if await asyncio.to_thread(self._folder.input.exists):
                raise
            # As after a restore: a backup has the record and not the folder.
            log.error(
                "%s: %s. All replicas need the same PENSTOCK_FILES_DIR.", self._about.id, error
            )
            await self._fail(LineError("invalid_file", "the lines of the batch are gone"))

    async def _work_in_folder(self) -> None:
        if self._state.status is Status.VALIDATING and not await self._validate():
            return
        if self._state.status in (Status.IN_PROGRESS, Status.CANCELLING):
            await self._run_lines()
        await publish(self._desk.files, self._folder, self._about, self._state, self._lease.epoch)
        await self._end(self._state.ends_as)

    async def _validate(self) -> bool:
        """Make the plan; say whether there is something to run."""
        about, desk = self._about, self._desk
        try:
            # One at a time: others need the threads too.
            async with desk.planning:
                plan = await asyncio.to_thread(
                    make_plan,
                    self._folder,
                    partial(desk.format.check, about.endpoint),
                    service=about.service,
                    max_lines=desk.limits.lines,
                    epoch=self._lease.epoch,
                    goes_on=lambda: not self._is_lost and self._stop_code() is None,
                )
        except BadLines as error:
            await self._fail(*error.errors)
            return False
        except Abandoned:
            if self._is_lost:
                raise LeaseLost from None
            expired = self._stop_code() == progress.EXPIRED
            await self._end(Status.EXPIRED if expired else Status.CANCELLED)
            return False
        await self._become(Status.IN_PROGRESS, {"total": plan.total, "model": plan.model})
        return True

    async def _run_lines(self) -> None:
        service = await patiently(partial(self._desk.service_of, self._about))
        if service is None:
            await self._finalize_without_service()
            return
        window = LineWindow(
            self._about,
            self._folder,
            self._state,
            jobs=Jobs(self._about, service, self._desk.format),
            format=self._desk.format,
            epoch=self._lease.epoch,
            commit=self._store,
            check_room=partial(self._desk.files.room.check, FileOwner(self._about.owner)),
            bell=self._bell,
            may_submit=lambda: not service.stopped,
            must_stop=lambda: self._stop_code() is not None or not self._is_there(service),
        )
        if self._lease.epoch > 1:
            await window.take_over()
        await window.run()
        if not self._is_there(service):
            await window.abandon()
            await self._finalize_without_service()
            return
        code = self._stop_code()
        if window.is_done and not self._canceled:
            await window.clean_up()
            await self._become(Status.FINALIZING, {"ends_as": Status.COMPLETED})
            return
        if code == progress.CANCELLED and self._state.status is Status.IN_PROGRESS:
            await self._become(Status.CANCELLING)
        await window.stop()
        await window.write_not_run(code or progress.EXPIRED)
        await window.clean_up()
        ends_as = Status.CANCELLED if code == progress.CANCELLED else Status.EXPIRED
        await self._become(Status.FINALIZING, {"ends_as": ends_as})

    def _is_there(self, service: Service) -> bool:
        known = self._desk.services.get(service.name)
        return known is not None and known.incarnation == service.incarnation

    async def _finalize_without_service(self) -> None:
        """Keep the answers there are; the other lines have nobody who answers."""
        sentence = f"the service {self._about.service!r} was deleted while the batch ran"
        gone = asdict(LineError("model_not_found", sentence))
        await self._become(Status.FINALIZING, {"errors": (gone,), "ends_as": Status.FAILED})

    async def _fail(self, *errors: LineError) -> None:
        self._state = replace(self._state, errors=tuple(asdict(error) for error in errors))
        await self._end(Status.FAILED)

    async def _end(self, status: Status) -> None:
        state = self._state.becomes(status, self._desk.now_ms())
        kept_ms = self._desk.limits.kept_ms
        if not await patiently(lambda: self._desk.index.end(self._lease, state, kept_ms=kept_ms)):
            raise LeaseLost
        await asyncio.to_thread(self._folder.remove)
        counts = (state.completed, state.failed, state.total)
        log.info("%s: %s, %d lines answered, %d failed, of %d.", self._about.id, status, *counts)


async def _end(*tasks: "asyncio.Task[None]") -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
