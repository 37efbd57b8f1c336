"""The files of a service: upload, list, describe, download, delete.

file = await client.files.upload("film.mp4")
await client.files.download(file.id, "copy.mp4")
"""

import mimetypes
import os
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, cast

from client_sdk import errors, file_calls, resumable
from client_sdk.content import AnyPath, Content, OnProgress
from client_sdk.download import Download
from client_sdk.file_calls import FileInfo
from client_sdk.resumable import ResumableUpload
from client_sdk.transport import Transport


class AsyncFiles:
    """The files of a token's owner; every method raises a QueueError if it failed."""

    def __init__(self, transport: Transport) -> None:
        """AsyncQueueClient creates this object; do not create one yourself."""
        self._transport = transport

    async def upload(
        self,
        content: AnyPath | bytes | BinaryIO | Iterable[bytes] | AsyncIterable[bytes],
        *,
        filename: str = "",
        content_type: str = "",
        purpose: str = "",
        expires_in_s: int | None = None,
        on_progress: OnProgress | None = None,
    ) -> FileInfo:
        """Upload a file and return its description, with the id.

        content: a path, a file that is open in binary mode, bytes, or an iterator over bytes.  It
            is sent in pieces, so memory does not depend on its size.
        filename, content_type: by default those of the path.  purpose: any word; lists filter by
            it.  expires_in_s: how long the service keeps it, from an hour to 30 days.
        on_progress: called with the bytes so far and in total; the total is None if unknown.

        A file of 16 MiB or more is hashed first.  If you have uploaded the same content before, it
        is not sent again.  A broken connection is resumed where it ended, and so is the upload of
        an earlier process within a day.

        Another content is repeated from its start, unless it is an iterator.  A broken upload of it
        leaves nothing in the service; if only the response was lost, the service may keep a second
        copy until that expires.  Raises FrameTooBig, FilesFull, NoFileStore or BadParameter.
        """
        if isinstance(content, str | os.PathLike):
            content = Path(content)
            filename = filename or content.name
        elif isinstance(content, bytes | bytearray | memoryview):
            content = [bytes(content)]
        sent = Content(content, on_progress=on_progress)
        content_type = content_type or mimetypes.guess_type(filename)[0] or ""
        if sent.is_repeatable and (sent.size_bytes or 0) >= resumable.LEAST_BYTES:
            whole = cast("Path | BinaryIO", content)
            upload = ResumableUpload(self._transport, whole, on_progress=on_progress)
            about = {"filename": filename, "filetype": content_type, "purpose": purpose}
            with suppress(resumable.NotSupported):
                return await upload.send(about, expires_in_s=expires_in_s)
        call = file_calls.upload(
            sent,
            filename=filename,
            content_type=content_type,
            purpose=purpose,
            expires_in_s=expires_in_s,
        )
        stored = await self._transport.send("", call, under="files")
        if (stored.size_bytes, stored.sha256) != (sent.sent_bytes, sent.sha256):
            await self.delete(stored.id)
            raise errors.BadMessage(
                f"expected {sent.sent_bytes} bytes to be stored with the SHA-256 {sent.sha256}, "
                f"got {stored.size_bytes} with {stored.sha256}"
            )
        return stored

    async def list(self, *, purpose: str = "") -> AsyncGenerator[FileInfo, None]:
        """Yield your files, the newest first; purpose: only those with this one."""
        after = ""
        while True:
            page = await self._transport.send(
                "", file_calls.page(after=after, purpose=purpose), under="files"
            )
            for file in page.items:
                yield file
            if not page.last_id:
                return
            after = page.last_id

    async def describe(self, file_id: str) -> FileInfo:
        """Return the description of a file; raises NotFound."""
        return await self._transport.send("", file_calls.describe(file_id), under="files")

    async def download(
        self, file_id: str, to: AnyPath, *, on_progress: OnProgress | None = None
    ) -> Path:
        """Write the content of a file to `to`, and return that path.

        It is written in pieces under another name, checked against its SHA-256, and renamed at the
        end; a file that exists there is replaced.  A broken connection is resumed where it ended.
        on_progress: called with the bytes so far and in total.

        Raises NotFound, and the OSError of a file that cannot be written.
        """
        file = await self.describe(file_id)
        download = Download(
            self._transport,
            file_calls.content_path(file_id),
            size_bytes=file.size_bytes,
            sha256=file.sha256,
            on_progress=on_progress,
        )
        return await download.to(Path(to))

    async def delete(self, file_id: str) -> None:
        """Delete a file and its content; raises NotFound."""
        await self._transport.send("", file_calls.delete(file_id), under="files")
