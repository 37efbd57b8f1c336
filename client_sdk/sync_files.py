"""Blocking files: every method calls the one of `AsyncFiles` with the same name; see there."""

from collections.abc import AsyncIterable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from client_sdk.content import AnyPath, OnProgress
from client_sdk.file_calls import FileInfo
from client_sdk.loop_thread import LoopThread


class Files:
    """The files of a token's owner; the blocking version of `AsyncFiles`."""

    def __init__(self, thread: LoopThread) -> None:
        """QueueClient creates this object; do not create one yourself."""
        self._thread = thread

    def upload(
        self,
        content: AnyPath | bytes | BinaryIO | Iterable[bytes] | AsyncIterable[bytes],
        *,
        filename: str = "",
        content_type: str = "",
        purpose: str = "",
        expires_in_s: int | None = None,
        on_progress: OnProgress | None = None,
    ) -> FileInfo:
        """Upload a file and return its description, with the id."""
        return self._thread.run(
            lambda client: client.files.upload(
                content,
                filename=filename,
                content_type=content_type,
                purpose=purpose,
                expires_in_s=expires_in_s,
                on_progress=on_progress,
            )
        )

    def list(self, *, purpose: str = "") -> Iterator[FileInfo]:
        """Yield your files, the newest first."""
        return self._thread.iterate(lambda client: client.files.list(purpose=purpose))

    def describe(self, file_id: str) -> FileInfo:
        """Return the description of a file; raises NotFound."""
        return self._thread.run(lambda client: client.files.describe(file_id))

    def download(self, file_id: str, to: AnyPath, *, on_progress: OnProgress | None = None) -> Path:
        """Write the content of a file to `to`, and return that path."""
        return self._thread.run(
            lambda client: client.files.download(file_id, to, on_progress=on_progress)
        )

    def delete(self, file_id: str) -> None:
        """Delete a file and its content; raises NotFound."""
        self._thread.run(lambda client: client.files.delete(file_id))
