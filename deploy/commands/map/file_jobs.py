"""The jobs of a mapped folder: uploads files and downloads results in pieces."""

import asyncio
import contextlib
import json
import mimetypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

from client_sdk import AsyncQueueClient, SavedResult
from client_sdk.calls import Data
from client_sdk.errors import BadParameter, IdInUse, NoResult, QueueError
from client_sdk.wire import names
from deploy.errors import CannotWrite

#: How long an upload may wait for its job, in seconds: the job then has a copy of its own.
UPLOAD_KEPT_S = 3600


class CannotSend(NoResult):
    """A file of the folder cannot be read, or has changed while it was sent."""


class FileJobs:
    """Submits files by their names, and saves results; see `client_sdk.mapping.JobsApi`.

    part: where the result of a job arrives.
    field: the name of the input that gets the file; "" if the file is the whole payload.
    """

    def __init__(
        self, client: AsyncQueueClient, folder: Path, part: Callable[[str], Path], *, field: str
    ) -> None:
        self.saved: dict[str, SavedResult] = {}
        self._client = client
        self._folder = folder
        self._part = part
        self._field = field

    async def submit(self, data: Data, *, job_id: str, **options: Any) -> object:
        """Submit the job of a file; data: its name in the folder."""
        path = self._folder / str(data)
        kind = options.pop("content_type", "") or mimetypes.guess_type(path.name)[0] or ""
        try:
            if self._field:
                return await self._submit_field(path, kind, job_id, options)
            kind = kind or "application/octet-stream"
            return await self._client.jobs.submit(path, job_id=job_id, content_type=kind, **options)
        except QueueError as error:
            # One without a status is about the file: it changed while it was sent.
            if not isinstance(error, BadParameter) or error.status is not None:
                raise
            raise CannotSend(error.sentence, fields={"state": "unread"}) from error
        except OSError as error:
            why = f"cannot read {path}: {error.strerror or error}"
            raise CannotSend(why, fields={"state": "unread"}) from error

    async def result(self, job_id: str, *, timeout_s: float | None = None) -> bytes:
        """Wait for a result and save it; `saved` has it then."""
        part = self._part(job_id)
        try:
            saved = await self._client.jobs.save_result(job_id, part, timeout_s=timeout_s)
        except QueueError:
            raise
        except OSError as error:
            raise CannotWrite(part, error) from error
        self.saved[job_id] = saved
        return b""

    async def cancel(self, job_id: str) -> object:
        """Cancel a job."""
        return await self._client.jobs.cancel(job_id)

    async def delete(self, job_id: str) -> None:
        """Delete a job that has ended."""
        await self._client.jobs.delete(job_id)

    async def _submit_field(
        self, path: Path, kind: str, job_id: str, options: dict[str, Any]
    ) -> object:
        file = await self._client.files.upload(
            path, content_type=kind, purpose="map", expires_in_s=UPLOAD_KEPT_S
        )
        data = json.dumps({self._field: {"$file": file.id}})
        try:
            return await self._client.jobs.submit(
                data, job_id=job_id, content_type=names.JSON, **options
            )
        except IdInUse:
            # An earlier run has submitted it, with another upload of the same file.
            return None
        finally:
            # The job has a copy of its own.
            with contextlib.suppress(QueueError):
                await asyncio.shield(self._client.files.delete(file.id))
