"""The batches of one process: made, shown, canceled, and run under leases.

A batch belongs to the owner of the token that has made it, as files do.  Any replica may run it:
the one that finds it without a lease does.
"""

import asyncio
import logging
import secrets
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass

from queue_service.delivery.doorbell import Doorbell
from queue_service.errors import ServiceError, StoreError
from queue_service.service.batches import parts
from queue_service.service.batches.desk import Desk
from queue_service.service.batches.errors import BatchEnded, NoSuchBatch, TooManyBatches
from queue_service.service.batches.feeder import LEASE_MS, Feeder, LeaseLost
from queue_service.service.batches.folder import BatchFolders
from queue_service.service.batches.plan import first_line, first_line_of
from queue_service.service.batches.publishing import in_threads
from queue_service.service.file_errors import NoFileStore, NoSuchFile
from queue_service.service.files import FileOwner
from queue_service.service.service import Service
from queue_service.store.batch import About, Batch, State, Status
from queue_service.store.batch_index import BatchIndex
from queue_service.store.file_folder import new_file_id
from queue_service.store.file_index import StoredFile
from queue_service.store.putter import Putter

log = logging.getLogger(__name__)

#: How often a process looks for batches that no process runs, in seconds.
LOOK_S = 5.0
#: How many open batches one look reads, and how many of one owner a process runs at once.
LOOK_AT, RUNS_OF_ONE = 1000, 4
#: How often what has expired is removed, in seconds.
REMOVE_EVERY_S = 600.0
#: A folder of no open batch may be of one that is just being made; after this time it is not.
LEFT_OVER_S = 3600.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """A batch as a client asks for it.

    service: None if the first line names none, so that the batch will fail.
    putter: as whom its jobs are put, None for the service's own token.
    """

    owner: FileOwner
    service: Service | None
    putter: Putter | None
    endpoint: str
    completion_window: str
    window_s: float
    metadata: Mapping[str, str]
    kept_s: int | None


class Batches:
    """The batches, as one process sees and runs them."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._index: BatchIndex = desk.index
        self._bell = Doorbell()
        self._running: dict[str, asyncio.Task[None]] = {}
        self._owners: Counter[str] = Counter()

    async def first_line(self, file: StoredFile) -> bytes:
        """Return the first line of an input file; raises NoSuchFile."""
        content = await self._desk.files.content(file.id)
        if content.path is None:
            return await first_line_of(content.pieces())
        try:
            return await asyncio.to_thread(first_line, content.path)
        except FileNotFoundError:
            raise NoSuchFile(file.id) from None

    async def create(self, wanted: Wanted, file: StoredFile) -> Batch:
        """Make a batch of a file; raises NoSuchFile, TooManyBatches or StoreUnavailable."""
        now_ms = self._desk.now_ms()
        about = About(
            id=f"batch_{secrets.token_hex(16)}",
            owner=wanted.owner.name,
            putter=(wanted.putter or Putter("")).in_bulk(),
            service=wanted.service.name if wanted.service else "",
            incarnation=wanted.service.incarnation if wanted.service else 0,
            endpoint=wanted.endpoint,
            input_file_id=file.id,
            output_file_id=new_file_id(),
            error_file_id=new_file_id(),
            completion_window=wanted.completion_window,
            created_at_ms=now_ms,
            expires_at_ms=now_ms + round(wanted.window_s * 1000),
            metadata=wanted.metadata,
            kept_s=wanted.kept_s,
        )
        folder = self._folders().of(about.id)
        content = await self._desk.files.content(file.id)
        try:
            if content.path is None:
                # The folder is of no batch until the index has it, so a killed copy is removed.
                await asyncio.to_thread(folder.make)
                await content.copy_to(folder.input)
            else:
                await asyncio.to_thread(folder.begin, content.path)
        except FileNotFoundError:
            raise NoSuchFile(file.id) from None
        state = State().becomes(Status.VALIDATING, now_ms)
        most = self._desk.limits.open_batches
        # After another error it may be in the index all the same; `remove_expired` finds out.
        if not await self._index.add(about, state, most_open=most):
            await asyncio.to_thread(folder.remove)
            raise TooManyBatches(most)
        self._bell.ring()
        return Batch(about, state)

    async def find(self, owner: FileOwner, batch_id: str) -> Batch:
        """Return a batch; raises NoSuchBatch also for the batch of another owner."""
        (batch,) = await self._index.find([batch_id])
        if batch is None or not (owner.sees_all or batch.about.owner == owner.name):
            raise NoSuchBatch(batch_id)
        return batch

    async def list(self, owner: FileOwner, *, after: str, count: int) -> "list[Batch]":
        """Return an owner's own batches, the newest first; raises NoSuchBatch for `after`."""
        ids = await self._index.ids_of(owner.name, after=after, count=count)
        if ids is None:
            raise NoSuchBatch(after)
        return [batch for batch in await self._index.find(ids) if batch is not None]

    async def cancel(self, owner: FileOwner, batch_id: str) -> Batch:
        """Cancel a batch; raises NoSuchBatch, or BatchEnded."""
        await self.find(owner, batch_id)
        canceled = await self._index.cancel(batch_id)
        batch = await self.find(owner, batch_id)
        if not canceled and batch.status is not Status.CANCELLED:
            raise BatchEnded(batch_id, batch.status)
        self._bell.ring()
        return batch

    def output(self, batch: Batch, kind: str, *, start: int = 0) -> AsyncIterator[bytes]:
        """Return what the lines of an open batch have come to so far, from a byte on.

        Reading may raise OSError.
        """
        folder = self._folders().of(batch.about.id)
        return in_threads(parts.committed(folder, batch.state.parts, kind, start=start))

    async def run(self) -> None:
        """Run batches and remove what has expired, until cancelled."""
        if self._desk.folders is None:
            return
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_keep(self._look, LOOK_S, self._bell))
                group.create_task(_keep(self.remove_expired, REMOVE_EVERY_S, Doorbell()))
        finally:
            running = list(self._running.values())
            for task in running:
                task.cancel()
            # Each gives its lease back, so that another process goes on at once.
            await asyncio.gather(*running, return_exceptions=True)

    async def remove_expired(self, left_over_s: float = LEFT_OVER_S) -> None:
        """Remove batches that ended long ago, and folders without an open batch."""
        while found := await self._index.expired(self._desk.now_ms(), count=LOOK_AT):
            for batch_id in found:
                await self._index.remove(batch_id)
        folders = self._folders()
        ids = await asyncio.to_thread(lambda: list(folders.ids(older_than_s=left_over_s)))
        for batch_id in ids:
            (batch,) = await self._index.find([batch_id])
            if batch is None or batch.state.status.is_final:
                await asyncio.to_thread(folders.of(batch_id).remove)

    async def _look(self) -> None:
        if self._desk.services.draining:
            return
        for batch_id in await self._index.waiting(count=LOOK_AT):
            if batch_id in self._running:
                continue
            try:
                await self._take(batch_id)
            except StoreError as error:
                # A newer version may have written what this one cannot read.
                log.warning("%s is left to others: %s", batch_id, error)

    async def _take(self, batch_id: str) -> None:
        (batch,) = await self._index.find([batch_id])
        if batch is None or self._owners[batch.about.owner] >= RUNS_OF_ONE:
            return
        lease = await self._index.take(batch_id, lease_ms=LEASE_MS)
        if lease is not None:
            self._start(Feeder(self._desk, self._folders().of(batch_id), lease), lease.batch)

    def _start(self, feeder: Feeder, batch: Batch) -> None:
        about = batch.about
        task = asyncio.create_task(self._run(feeder, about), name=f"batch {about.id}")
        self._running[about.id] = task
        self._owners[about.owner] += 1

        def ended(_: "asyncio.Task[None]") -> None:
            del self._running[about.id]
            self._owners[about.owner] -= 1
            if not self._owners[about.owner]:
                del self._owners[about.owner]
            self._bell.ring()

        task.add_done_callback(ended)

    async def _run(self, feeder: Feeder, about: About) -> None:
        try:
            await feeder.run()
        except LeaseLost:
            log.warning("Another process runs %s now.", about.id)
        except Exception:
            # The lease ends by itself, which is the pause before the next try.
            log.exception("%s was interrupted, and goes on when its lease has ended.", about.id)

    def _folders(self) -> BatchFolders:
        if self._desk.folders is None:
            raise NoFileStore
        return self._desk.folders


async def _keep(duty: Callable[[], Awaitable[None]], every_s: float, bell: Doorbell) -> None:
    """Do something at every ring, and this often."""
    while True:
        seen = bell.rings
        try:
            await duty()
        except (ServiceError, OSError) as error:
            log.warning("Batches wait: %s", error)
        await bell.wait(seen, timeout_s=every_s)
