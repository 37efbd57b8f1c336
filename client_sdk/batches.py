"""The batches of a service: create, follow, cancel, read the results.

batch = await client.batches.create("lines.jsonl")
await client.batches.wait(batch.id)
async for result in client.batches.results(batch.id):
    print(result.custom_id, result.body)
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from client_sdk import batch_calls, errors
from client_sdk.batch_calls import BatchInfo, BatchLine, BatchResult
from client_sdk.batch_download import download
from client_sdk.batch_results import ResultReader
from client_sdk.content import AnyPath, OnProgress
from client_sdk.files import AsyncFiles
from client_sdk.transport import Transport

#: The defaults of a batch.
ENDPOINT = "/v1/chat/completions"
#: The first and the longest pause between two looks at a batch, in seconds.
FIRST_LOOK_S, LONGEST_LOOK_S = 0.2, 5.0
#: The name and the purpose of the file that lines are uploaded as.
_FILENAME, _PURPOSE, _TYPE = "requests.jsonl", "batch", "application/jsonl"


class AsyncBatches:
    """The batches of a token's owner; every method raises a QueueError if it failed."""

    def __init__(self, transport: Transport, files: AsyncFiles) -> None:
        """AsyncQueueClient creates this object; do not create one yourself."""
        self._transport = transport
        self._files = files

    async def create(
        self,
        lines: AnyPath | Iterable[BatchLine] | AsyncIterable[BatchLine] | None = None,
        *,
        file_id: str = "",
        endpoint: str = ENDPOINT,
        completion_window: str = "24h",
        metadata: Mapping[str, str] | None = None,
        results_expire_in_s: int | None = None,
        on_progress: OnProgress | None = None,
    ) -> BatchInfo:
        """Make a batch and return its description, with the id.

        lines: the path of a file with one request per line, or the requests: mappings with
            `custom_id` and `body`, or lines of JSON.  They are sent in pieces, so memory does not
            depend on their number.
        file_id: a file that you have uploaded, instead of lines.
        endpoint: the `url` of every line.
        completion_window: what has not run by then expires; from 1s to 30d.
        metadata: up to 16 texts of your own.
        results_expire_in_s: how long its files are kept, from an hour to 30 days.
        on_progress: called with the bytes sent so far and in total; the total is None if unknown.

        Raises NotFound for the file, NoSuchService for the model of the first line, BadParameter,
        QuotaExceeded, or AnswerLost: then the batch may have been made, and `list` shows it.
        """
        if (lines is None) == (not file_id):
            raise errors.BadParameter("expected either lines or a file_id")
        sent_id = "" if lines is None else await self._upload(lines, endpoint, on_progress)
        wanted: dict[str, Any] = {
            "input_file_id": file_id or sent_id,
            "endpoint": endpoint,
            "completion_window": completion_window,
            "metadata": dict(metadata or {}),
        }
        if results_expire_in_s is not None:
            wanted["output_expires_after"] = {
                "anchor": "created_at",
                "seconds": results_expire_in_s,
            }
        try:
            return await self._transport.send("", batch_calls.create(wanted), under="batches")
        except errors.AnswerLost:
            # The batch may have been made, and then reads the file.
            raise
        except errors.QueueError:
            if sent_id:
                with contextlib.suppress(errors.QueueError):
                    await self._files.delete(sent_id)
            raise

    async def get(self, batch_id: str) -> BatchInfo:
        """Return the description of a batch; raises NotFound."""
        return await self._transport.send("", batch_calls.get(batch_id), under="batches")

    async def list(self) -> AsyncGenerator[BatchInfo, None]:
        """Yield your batches, the newest first."""
        after = ""
        while True:
            call = batch_calls.page(after=after)
            page = await self._transport.send("", call, under="batches")
            for batch in page.items:
                yield batch
            if not page.last_id:
                return
            after = page.last_id

    async def cancel(self, batch_id: str) -> BatchInfo:
        """Cancel a batch; what is done stays.  Raises NotFound, or JobEnded after its end."""
        return await self._transport.send("", batch_calls.cancel(batch_id), under="batches")

    async def wait(
        self,
        batch_id: str,
        *,
        timeout_s: float | None = None,
        patience_s: float = 600.0,
        on_progress: Callable[[BatchInfo], None] | None = None,
        on_wait: Callable[[errors.QueueError], None] | None = None,
    ) -> BatchInfo:
        """Wait until a batch has ended, with any status, and return its description.

        timeout_s: how long to wait; None means no limit.
        patience_s: how long to keep trying while the service is unreachable.
        on_progress: called with each description, a few times a minute.
        on_wait: called with each error that is waited out.

        Raises NotInTime, and the batch continues; raises NotFound.
        """
        loop = asyncio.get_running_loop()
        begun = answered_at = loop.time()
        while True:
            try:
                found = await self.get(batch_id)
                answered_at = loop.time()
                if on_progress is not None:
                    on_progress(found)
                if found.has_ended:
                    return found
            except errors.QueueError as error:
                if not error.transient or loop.time() - answered_at > patience_s:
                    raise
                if on_wait is not None:
                    on_wait(error)
            waited_s = loop.time() - begun
            pause_s = min(LONGEST_LOOK_S, FIRST_LOOK_S + waited_s / 20)
            if timeout_s is not None:
                if waited_s >= timeout_s:
                    sentence = f"the batch has not ended within {timeout_s:g} s; it goes on"
                    raise errors.NotInTime(sentence, fields={"batch_id": batch_id})
                pause_s = min(pause_s, timeout_s - waited_s)
            await asyncio.sleep(pause_s)

    async def results(
        self, batch_id: str, *, follow: bool = False
    ) -> AsyncGenerator[BatchResult, None]:
        """Yield the results of the lines, in the order in which they ended.

        While the batch runs, these are the results so far; follow: yield the others as they come,
        until the batch ends.  Answers and errors are two files, so their order is not kept.

        Raises NotFound.
        """
        readers = [
            ResultReader(self._transport, batch_id, of_errors=which) for which in (False, True)
        ]
        pause_s = FIRST_LOOK_S
        while True:
            # First: nothing comes after the end.
            found = await self.get(batch_id)
            for reader in readers:
                async with contextlib.aclosing(reader.blocks()) as blocks:
                    async for block in blocks:
                        pause_s = FIRST_LOOK_S
                        for line in block.splitlines():
                            yield batch_calls.result(line)
            if not follow or found.has_ended:
                return
            await asyncio.sleep(pause_s)
            pause_s = min(LONGEST_LOOK_S, 1.5 * pause_s)

    async def download(
        self,
        batch_id: str,
        to: AnyPath,
        *,
        errors: bool = False,
        on_progress: OnProgress | None = None,
    ) -> Path:
        """Write the answers so far to `to`, also while the batch runs, and return that path.

        errors: the errors of the lines that failed instead.
        on_progress: called with the bytes so far and in total.

        A file of this batch that exists there is continued, any other one is replaced.  It always
        has whole lines: a download arrives beside it, in `.NAME.part`, where the next call resumes
        it after an interruption.

        Raises NotFound, and the OSError of a file that cannot be written.
        """
        return await download(
            self._transport, batch_id, Path(to), of_errors=errors, on_progress=on_progress
        )

    async def _upload(
        self,
        lines: AnyPath | Iterable[BatchLine] | AsyncIterable[BatchLine],
        endpoint: str,
        on_progress: OnProgress | None,
    ) -> str:
        if isinstance(lines, bytes | bytearray | Mapping):
            came = type(lines).__name__
            raise errors.BadParameter(f"expected a path or an iterable of lines, got {came}")
        if isinstance(lines, Iterable | AsyncIterable) and not isinstance(lines, str):
            content = batch_calls.content(lines, endpoint)
            file = await self._files.upload(
                content,
                filename=_FILENAME,
                content_type=_TYPE,
                purpose=_PURPOSE,
                on_progress=on_progress,
            )
        else:
            file = await self._files.upload(
                lines, content_type=_TYPE, purpose=_PURPOSE, on_progress=on_progress
            )
        return file.id
