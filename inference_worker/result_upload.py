"""Uploads the large result and the artifacts of a job, and waits for room on a full disk."""

import asyncio
import io
import json
import logging
import os
import re
import stat
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

from client_sdk import errors
from client_sdk.calls import Answer, Call
from client_sdk.content import Content
from client_sdk.wire import codes
from client_sdk.wire.artifacts import why_bad_name
from client_sdk.wire.errors import WireError
from inference_worker.direct_results import sent_directly
from inference_worker.engines.engine import (
    RESULT_TOO_BIG,
    Artifact,
    Failed,
    Finished,
    Job,
    Progress,
)
from inference_worker.engines.failures import failure_of
from inference_worker.engines.full_disk import settled_with_room
from inference_worker.engines.job_content import ARTIFACT_PREFIX, OUTPUT_NAME, is_large
from inference_worker.file_store import RETRY, FileStore

#: A job that waits reports this often, in seconds.
REPORT_EVERY_S = 1.0

#: What the log says of a result that cannot be uploaded now, and once it is.
WAITS = "The %s of %s waits for the queue service: %s"
WAITED = "The %s of %s is stored, after %.0f s of waiting."

_ARTIFACT = re.compile(rf"{ARTIFACT_PREFIX}[0-9]{{1,12}}")

log = logging.getLogger(__name__)


async def stored(
    store: FileStore, job: Job, end: Finished
) -> AsyncGenerator[Progress | Finished | Failed, None]:
    """Yield the end with its output uploaded, if it is large; before that, progress if it waits."""
    if not end.path and not is_large(job, end):
        yield end
        return
    if end.path != os.path.join(job.folder, OUTPUT_NAME):
        # Of an engine in this process.
        async with aclosing(settled_with_room(job, end)) as settling:
            async for done in settling:
                if isinstance(done, Finished) and done.path:
                    end = done
                    break
                yield done
            else:
                return
    upload = _Upload(store, job, OUTPUT_NAME, end.content_type, "result")
    uploading = asyncio.create_task(upload.run())
    try:
        while not (await asyncio.wait({uploading}, timeout=REPORT_EVERY_S))[0]:
            if upload.waits_because:
                yield Progress(1.0, f"the result waits: {upload.waits_because}")
        file = uploading.result()
        yield replace(end, output=b"", path="", file=file) if isinstance(file, str) else file
    finally:
        uploading.cancel()
        await asyncio.gather(uploading, return_exceptions=True)


async def stored_artifact(store: FileStore, job: Job, artifact: Artifact) -> Artifact | Failed:
    """Return the artifact with the id of its uploaded content."""
    name = os.path.basename(artifact.path)
    # The engine runs foreign code.
    if why_bad_name(artifact.name) or not _ARTIFACT.fullmatch(name):
        return Failed("EngineDefect", f"the artifact {artifact.name!r} at {artifact.path!r}")
    noun = f"artifact {artifact.name!r}"
    done = await _Upload(store, job, name, artifact.content_type, noun).run()
    if isinstance(done, Failed):
        return done
    await asyncio.to_thread((Path(job.folder) / name).unlink, missing_ok=True)
    return replace(artifact, path="", file=done)


class _Upload:
    """Uploads one output, for as long as it takes: computing it again would cost more.

    name: of the file in the folder of the job.  noun: what it is, for people.
    waits_because: why there is no room for it, "" while it is being sent.
    """

    def __init__(self, store: FileStore, job: Job, name: str, content_type: str, noun: str) -> None:
        self.waits_because = ""
        self._store = store
        self._job = job
        self._name = name
        self._content_type = content_type
        self._noun = noun

    async def run(self) -> str | Failed:
        """Return the id of the file."""
        try:
            with await asyncio.to_thread(_open_output, Path(self._job.folder), self._name) as file:
                return await self._send(file)
        except (errors.FrameTooBig, errors.BadParameter) as error:
            return Failed(RESULT_TOO_BIG, error.sentence, retryable=False)
        except errors.QueueError as error:
            why = f"the {self._noun} could not be uploaded: {error.sentence}"
            return Failed(codes.SHUTDOWN, why)
        except OSError as error:
            return failure_of(error)

    async def _send(self, file: io.BufferedReader) -> str:
        direct = await sent_directly(self._store, file, self._content_type)
        if direct is not None:
            return direct
        call = Call(
            "upload",
            "POST",
            _id_of,
            body=Content(file),
            headers={"Content-Type": self._content_type or "application/octet-stream"},
            passes=frozenset({200, 201}),
        )
        backoff, loop, began_at = RETRY.backoff(), asyncio.get_running_loop(), 0.0
        while True:
            try:
                file_id = await self._store.transport.send(self._store.path, call, under="root")
            except errors.QueueError as error:
                # A full disk, or a service that is away: the delivery stays this worker's, or the
                # connection reports that it is lost, which ends this.
                if not isinstance(error, errors.FilesFull) and not error.transient:
                    raise
                if not began_at:
                    began_at = loop.time()
                    log.warning(WAITS, self._noun, self._job.request_id, error.sentence)
                self.waits_because = error.sentence
            else:
                if began_at:
                    log.info(WAITED, self._noun, self._job.request_id, loop.time() - began_at)
                return file_id
            await asyncio.sleep(backoff.next_delay_s())


def _open_output(folder: Path, name: str) -> io.BufferedReader:
    # The engine runs foreign code.  A link there could name what only this process may read.
    fd = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise FileNotFoundError(2, "the engine's output is no file")
    return open(fd, "rb")


def _id_of(answer: Answer) -> str:
    try:
        return str(json.loads(answer.body)["id"])
    except (ValueError, KeyError, TypeError):
        raise WireError("the id of a file", repr(answer.body[:80])) from None
