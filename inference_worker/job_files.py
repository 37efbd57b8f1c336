"""Fetches the files of a job before it starts, and hands its result over for upload.

Only the supervisor talks to the queue service; the engine finds files in the job's folder.
"""

import asyncio
import logging
import shutil
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

from client_sdk import errors
from client_sdk.download import Download
from client_sdk.wire import codes
from client_sdk.wire.file_ref import FileRef
from client_sdk.wire.worker import Delivery
from client_sdk.work import WorkConnection
from inference_worker.artifact_uploads import with_uploads
from inference_worker.engines.engine import (
    FILE_LOST,
    Artifact,
    Engine,
    Event,
    Failed,
    Finished,
    Job,
    JobFile,
    Progress,
)
from inference_worker.engines.failures import BadInput, failure_of
from inference_worker.engines.job_content import is_large, prepared, settled
from inference_worker.engines.media_form import is_media_form
from inference_worker.file_store import FileStore
from inference_worker.job_folders import is_there, remove
from inference_worker.result_upload import stored, stored_artifact
from inference_worker.running import Running, job_of, timeout_of

#: A job waits this long for room on the disk, in seconds, then another worker gets it.
ROOM_WAIT_S = 60.0
#: The disk is looked at this often meanwhile, in seconds: others write to it, too.
ROOM_LOOK_S = 2.0
#: Progress is reported this often, in seconds.
REPORT_EVERY_S = 1.0

_MB = 1024 * 1024

log = logging.getLogger(__name__)


class JobFiles:
    """The files of one worker's jobs.

    store: None for a worker that takes no files.
    """

    def __init__(self, store: FileStore | None = None) -> None:
        self.connection: WorkConnection | None = None
        self._store = store
        self._expected_bytes = 0
        self._freed = asyncio.Event()

    @property
    def inline_bytes(self) -> int:
        """A larger result is uploaded; 0 means that none is."""
        return self.connection.inline_bytes if self.connection and self._store else 0

    @property
    def log_bytes(self) -> int:
        """The most bytes of the log of one attempt."""
        return self.connection.log_bytes if self.connection else 0

    async def close(self) -> None:
        """Close the connections and remove the folder."""
        if self._store is not None:
            await self._store.transport.close()
            await asyncio.to_thread(self._store.folders.close)

    def run_now(
        self, engine: Engine, delivery: Delivery, limit_s: float
    ) -> Finished | Failed | None:
        """Return the end of a job that needs neither time nor files, else None."""
        if delivery.payload_file or delivery.files:
            return None
        job = job_of(delivery, timeout_s=timeout_of(delivery, limit_s=limit_s))
        end = engine.run_now(job)
        is_stored = end is None or not is_large(replace(job, inline_bytes=self.inline_bytes), end)
        return end if is_stored else None

    async def run(
        self,
        engine: Engine,
        running: Running,
        limit_s: float,
        time_out: Callable[[Running], None],
    ) -> AsyncGenerator[Event, None]:
        """Fetch, run, upload; yield the events of the job.

        Its clock (limit_s, time_out: see Running) runs only while the engine works.
        """
        store, delivery = self._store, running.delivery
        if store is None:
            if delivery.payload_file or delivery.files:
                yield Failed(codes.SHUTDOWN, "this worker takes no files")
                return
            job = replace(
                running.begin(limit_s=limit_s, time_out=time_out), log_bytes=self.log_bytes
            )
            # Nothing uploads them.
            job = replace(job, artifact_bytes=0) if job.artifact_bytes else job
            async with aclosing(_run(engine, job)) as events:
                async for event in events:
                    if isinstance(event, Finished) and event.path:
                        event = await asyncio.to_thread(settled, job, event)  # noqa: PLW2901
                    yield event
            return
        folder = store.folders.next()
        refs = (delivery.payload_file, *delivery.files)
        wanted = [ref for ref in refs if ref is not None]
        try:
            if wanted:
                async with aclosing(self._fetch(store, delivery, wanted, folder)) as fetching:
                    async for event in fetching:
                        yield event
                        if isinstance(event, Failed):
                            return
            job = running.begin(limit_s=limit_s, time_out=time_out)
            job = replace(
                job,
                folder=str(folder),
                inline_bytes=self.inline_bytes,
                log_bytes=self.log_bytes,
            )
            if wanted:
                job = _with_files(job, delivery, folder)
            async with aclosing(_run_and_store(store, engine, running, job)) as events:
                async for event in events:
                    yield event
        finally:
            if wanted or is_there(folder):
                await asyncio.to_thread(remove, folder)
                self._freed.set()

    # --- Before the job

    async def _fetch(
        self, store: FileStore, delivery: Delivery, wanted: list[FileRef], folder: Path
    ) -> AsyncGenerator[Event, None]:
        size, loop = sum(ref.size_bytes for ref in wanted), asyncio.get_running_loop()
        got: dict[str, int] = {}
        began_at = loop.time()

        async def fetch() -> None:
            await self._take_room(store, size)
            try:
                await asyncio.to_thread(folder.mkdir, mode=0o700)
                for ref in wanted:
                    await _download(store, ref, folder, got)
            finally:
                self._expected_bytes -= size

        yield Progress(0.0, f"fetching files, {size / _MB:.1f} MB")
        fetching = asyncio.create_task(fetch())
        try:
            while not (await asyncio.wait({fetching}, timeout=REPORT_EVERY_S))[0]:
                done = sum(got.values()) / max(1, size)
                yield Progress(0.0, f"fetching files, {done:.0%} of {size / _MB:.1f} MB")
            if failed := _failure(fetching.exception()):
                log.warning("The files of %s: %s", delivery.request_id, failed.message)
                yield failed
                return
        finally:
            fetching.cancel()
            await asyncio.gather(fetching, return_exceptions=True)
        log.info(
            "Fetched %d files of %s, %d bytes, in %.1f s.",
            len(wanted),
            delivery.request_id,
            size,
            loop.time() - began_at,
        )

    async def _take_room(self, store: FileStore, size: int) -> None:
        """Wait until the disk has room for this much; raises NoRoom."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + ROOM_WAIT_S
        while True:
            self._freed.clear()
            free = await asyncio.to_thread(lambda: shutil.disk_usage(store.folders.base).free)
            room = free - store.reserve_bytes - self._expected_bytes
            if size <= room:
                self._expected_bytes += size
                return
            if loop.time() >= deadline:
                raise NoRoom(size, max(0, room))
            try:
                async with asyncio.timeout(ROOM_LOOK_S):
                    await self._freed.wait()
            except TimeoutError:
                continue


def _run(engine: Engine, job: Job) -> AsyncGenerator[Event, None]:
    if job.payload_path or job.files or is_media_form(job):
        return _run_prepared(engine, job)
    return engine.run(job)


async def _run_prepared(engine: Engine, job: Job) -> AsyncGenerator[Event, None]:
    try:
        job = await asyncio.to_thread(prepared, engine, job)
    except BadInput as error:
        yield failure_of(error)
        return
    async with aclosing(engine.run(job)) as events:
        async for event in events:
            yield event


async def _download(store: FileStore, ref: FileRef, folder: Path, got: dict[str, int]) -> None:
    download = Download(
        store.transport,
        f"{store.path}/{quote(ref.id, safe='')}/content",
        size_bytes=ref.size_bytes,
        sha256=ref.sha256,
        from_storage=True,
        on_progress=lambda done, _: got.__setitem__(ref.id, done),
    )
    await download.to(folder / _name_of(ref))


async def _run_and_store(
    store: FileStore, engine: Engine, running: Running, job: Job
) -> AsyncGenerator[Event, None]:
    async with (
        aclosing(_run(engine, job)) as events,
        aclosing(_with_artifacts(store, running, job, events)) as uploaded,
    ):
        async for event in uploaded:
            if not isinstance(event, Finished):
                yield event
                continue
            running.stop_clock()
            async with aclosing(stored(store, job, event)) as storing:
                async for one in storing:
                    yield one
            return


async def _with_artifacts(
    store: FileStore, running: Running, job: Job, events: AsyncGenerator[Event, None]
) -> AsyncGenerator[Event, None]:
    """Yield the events of a job; its artifacts are uploaded first."""
    async for event in events:
        if isinstance(event, Artifact):
            break
        yield event
    else:
        return
    # Most jobs have no artifacts, and then need no task for each event.
    rest = with_uploads(
        event,
        events,
        lambda one: stored_artifact(store, job, one),
        stop_clock=running.stop_clock,
    )
    async with aclosing(rest) as left:
        async for event in left:
            yield event


class NoRoom(Exception):
    """The disk has no room for the files of a job."""

    def __init__(self, size: int, room: int) -> None:
        super().__init__(f"the disk has room for {room / _MB:.0f} MB, they have {size / _MB:.0f}")


def _failure(error: BaseException | None) -> Failed | None:
    """Return how a job ends whose files could not be fetched.  Only a lost file blames the job."""
    match error:
        case None:
            return None
        case errors.Unauthorized() | errors.Forbidden():
            return Failed(codes.SHUTDOWN, f"its files could not be fetched: {error.sentence}")
        case errors.Refused():
            return Failed(FILE_LOST, f"a file of the job cannot be had: {error.sentence}")
        case errors.QueueError():
            return Failed(codes.SHUTDOWN, f"its files could not be fetched: {error.sentence}")
        case NoRoom():
            return Failed(codes.SHUTDOWN, f"its files could not be fetched: {error}")
        case OSError():
            why = error.strerror or error
            return Failed(codes.SHUTDOWN, f"its files could not be written: {why}")
        case _:
            raise error


def _with_files(job: Job, delivery: Delivery, folder: Path) -> Job:
    payload = delivery.payload_file
    return replace(
        job,
        payload_path="" if payload is None else str(folder / _name_of(payload)),
        content_type=job.content_type or (payload.content_type if payload else ""),
        files=tuple(
            JobFile(
                ref.id, str(folder / _name_of(ref)), ref.filename, ref.content_type, ref.size_bytes
            )
            for ref in delivery.files
        ),
    )


def _name_of(ref: FileRef) -> str:
    """Return the name in the job's folder: unique, and with the suffix, which libraries look at."""
    suffix = Path(ref.filename).suffix
    is_plain = len(suffix) <= 16 and suffix[1:].isalnum() and suffix.isascii()
    stem = "".join(c if c.isalnum() else "_" for c in ref.id[:80] if c.isascii())
    return f"in_{stem}{suffix if is_plain else ''}"
