"""The contents of files in S3-compatible storage, which all replicas reach.

    <prefix>/complete/<id>      a complete content
    <prefix>/incoming/<id>/...  one that arrives in several requests (see partials_in_s3.py)

Uploads are multipart, or one request if they are small: S3 shows only complete objects.  No list of
objects shows an upload that a killed process left unfinished; s3_uploads.py finds it.  A content
may have several ids (see file_index.py), because S3 has no second names for an object.
"""

import asyncio
import errno
import hashlib
import logging
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from queue_service.store.contents import Content
from queue_service.store.s3_errors import FilesUnavailable
from queue_service.store.s3_signing import Keys
from queue_service.store.s3_uploads import UnfinishedUploads

if TYPE_CHECKING:
    from obstore import AsyncWritableFile
    from obstore.store import S3Config, S3Store

log = logging.getLogger(__name__)

#: The least size of a part, in bytes, and how many parts S3 takes.
LEAST_PART_BYTES, MOST_PARTS = 8 * 1024 * 1024, 9_000
#: The number of parts of one upload that are sent at once; they and one more are in memory.
PARTS_AT_ONCE = 2
#: How much of a part is hashed and handed on at once, in bytes.
WRITE_BYTES = 1024 * 1024
#: How much of a content is read at once, in bytes.
READ_BYTES = 512 * 1024
#: How often a request is repeated, and until when.
RETRIES, RETRY_S = 4, timedelta(seconds=30)
#: How long to wait for bytes from the storage; a connection must be open sooner.
SILENCE_S, CONNECT_S = timedelta(seconds=30), timedelta(seconds=5)
#: The longest response: one content to a slow reader.  After it, another request reads the rest.
ANSWER_S = timedelta(hours=1)
#: How often a broken download is resumed without a byte of progress.
READ_TRIES = 4
#: How long an address is valid: a transfer only has to begin in this time.
ADDRESS_VALID = timedelta(minutes=15)

#: Errors of a storage without room; like a full disk, this is not a failure of the connection.
_IS_FULL = re.compile(r"StorageFull|QuotaExceeded|InsufficientStorage|507 Insufficient")
#: An object that a browser opens under an address of the storage must not run there.
_SAVED = {"Content-Type": "application/octet-stream", "Content-Disposition": "attachment"}


@dataclass(frozen=True, slots=True)
class S3Address:
    """Where the storage is.

    endpoint: of a storage that is not AWS; "" for AWS.  public_endpoint: the same storage as
    workers and clients reach it; "" if that is the same.  keys: None means those of the
    environment (AWS_*, or the role of the machine).
    """

    bucket: str
    prefix: str = ""
    endpoint: str = ""
    public_endpoint: str = ""
    region: str = ""
    virtual_hosts: bool = False
    keys: Keys | None = field(default=None, repr=False)


class S3Contents:
    """Contents by the id of their file.

    most_bytes: of one content.  Every method raises FilesUnavailable when the storage does not
    answer or refuses, after some repetitions.
    """

    def __init__(self, address: S3Address, *, most_bytes: int) -> None:
        self._address = address
        self._store = _open(address, address.endpoint)
        public = address.public_endpoint
        self._public = _open(address, public) if public else self._store
        self._unfinished = UnfinishedUploads.of(
            bucket=address.bucket,
            prefix=f"{address.prefix}/complete/".lstrip("/"),
            endpoint=address.endpoint,
            region=address.region,
            keys=address.keys,
        )
        self._part_bytes = max(LEAST_PART_BYTES, -(-most_bytes // MOST_PARTS))

    @property
    def local(self) -> None:
        """No content is a file of this machine."""
        return None

    @property
    def addresses(self) -> "S3Contents":
        """Others can transfer contents without this process."""
        return self

    def writer(self, file_id: str, *, attempt: int = 0) -> "S3Writer":
        """Return what writes the content of a new file.

        Two attempts at one file are two uploads, of which the last one counts.
        """
        return S3Writer(self, file_id, self._part_bytes, is_only_one=attempt == 0)

    async def remove(self, file_id: str) -> None:
        """Remove a content; one that is not there is no error."""
        await self.remove_key(_key(file_id))

    async def remove_key(self, key: str) -> None:
        """Remove an object below the prefix; one that is not there is no error."""
        import obstore  # noqa: PLC0415

        with _told("remove a file"):
            await obstore.delete_async(self._store, key)

    async def copy_key(self, key: str, file_id: str) -> None:
        """Make a copy of an object a complete content; raises FileNotFoundError, or OSError."""
        import obstore  # noqa: PLC0415

        with _told("copy a file"):
            await obstore.copy_async(self._store, key, _key(file_id))

    async def put(self, key: str, data: bytes) -> None:
        """Write a small object; raises OSError when the storage is full."""
        import obstore  # noqa: PLC0415

        with _told("write a file"):
            await obstore.put_async(self._store, key, data, use_multipart=False)

    async def objects(self, folder: str) -> AsyncIterator[list[tuple[str, int, float]]]:
        """Yield what is below a folder: key, size in bytes, and time of the last change."""
        import obstore  # noqa: PLC0415

        pages = aiter(obstore.list(self._store, folder, chunk_size=1000))
        while True:
            with _told("list the files"):
                page = await anext(pages, None)
            if page is None:
                return
            yield [(one["path"], one["size"], one["last_modified"].timestamp()) for one in page]

    async def size_bytes(self, file_id: str) -> int | None:
        """Return the size of a content; None when it is not there."""
        import obstore  # noqa: PLC0415

        try:
            with _told("look at a file"):
                return (await obstore.head_async(self._store, _key(file_id)))["size"]
        except FileNotFoundError:
            return None

    async def read(self, file_id: str, start: int, stop: int) -> AsyncIterator[bytes]:
        """Yield the bytes of a content from `start` to `stop`; raises FileNotFoundError."""
        async for piece in self.read_key(_key(file_id), start, stop):
            yield piece

    async def read_key(self, key: str, start: int, stop: int) -> AsyncIterator[bytes]:
        """Yield bytes of an object below the prefix; raises FileNotFoundError.

        A connection that breaks is replaced where it ended.
        """
        import obstore  # noqa: PLC0415

        tries = 0
        while start < stop:
            try:
                with _told("read a file"):
                    found = await obstore.get_async(
                        self._store, key, options={"range": (start, stop)}
                    )
                    pieces = aiter(found.stream(READ_BYTES))
                while True:
                    with _told("read a file"):
                        piece = await anext(pieces, None)
                    if piece is None:
                        break
                    start, tries = start + len(piece), 0
                    # Not an object of the library, which is no bytes to every reader.
                    yield bytes(piece)
                if start < stop:
                    raise FilesUnavailable("read a file", "the content is shorter than expected")
            except FilesUnavailable:
                tries += 1
                if tries >= READ_TRIES:
                    raise

    async def download_address(self, file_id: str) -> str:
        """Return an address from which anybody can read this content for some minutes."""
        import obstore  # noqa: PLC0415

        with _told("sign an address"):
            return await obstore.sign_async(self._public, "GET", _key(file_id), ADDRESS_VALID)

    async def ids(self, *, older_than_s: float) -> AsyncIterator[list[str]]:
        """Yield the ids of the contents that were completed before this time, some at a time."""
        before = time.time() - older_than_s
        async for page in self.objects("complete"):
            yield [key.rpartition("/")[2] for key, _, changed_at in page if changed_at < before]

    async def remove_stalled(self, *, older_than_s: float) -> int:
        """Remove uploads that have received nothing for this time; return how many."""
        if self._unfinished is None:
            return 0
        return await self._unfinished.remove(older_than_s=older_than_s)

    def open(self, file_id: str) -> "AsyncWritableFile":
        """Return what uploads one content; leaving its block with an error ends the upload."""
        import obstore  # noqa: PLC0415

        return obstore.open_writer_async(
            self._store,
            _key(file_id),
            attributes=_SAVED,
            buffer_size=self._part_bytes,
            max_concurrency=PARTS_AT_ONCE,
        )


class S3Writer:
    """Writes one content; `finish` makes it complete, and leaving the block before removes it."""

    def __init__(
        self, contents: S3Contents, file_id: str, part_bytes: int, *, is_only_one: bool
    ) -> None:
        self._contents = contents
        self._file_id = file_id
        self._is_only_one = is_only_one
        self._upload: AsyncWritableFile | None = None
        self._gathered = bytearray()
        self._hash = hashlib.sha256()
        self._may_exist = self._is_finished = False
        self.size_bytes = 0

    async def __aenter__(self) -> "S3Writer":
        self._upload = self._contents.open(self._file_id)
        await self._upload.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        if not self._is_finished:
            # Shielded: a client that goes away cancels its request, and the rest must not stay.
            await asyncio.shield(asyncio.ensure_future(self._abandon()))

    async def write(self, piece: bytes) -> None:
        """Append a piece; raises FilesUnavailable, or OSError when the storage is full."""
        self._gathered += piece
        self.size_bytes += len(piece)
        if len(self._gathered) >= WRITE_BYTES:
            gathered, self._gathered = bytes(self._gathered), bytearray()
            await self._append(gathered)

    async def finish(self) -> Content:
        """Make the content complete; raises as `write` does."""
        await asyncio.shield(asyncio.ensure_future(self._finish()))
        return Content(self.size_bytes, self._hash.hexdigest())

    async def _append(self, gathered: bytes) -> None:
        assert self._upload is not None, "write before the block"
        await asyncio.to_thread(self._hash.update, gathered)
        with _told("write a file"):
            await self._upload.write(gathered)

    async def _finish(self) -> None:
        assert self._upload is not None, "finish before the block"
        await self._append(bytes(self._gathered))
        self._may_exist = True
        with _told("complete a file"):
            await self._upload.close()
        self._is_finished = True

    async def _abandon(self) -> None:
        assert self._upload is not None, "the end of a block that has begun"
        # What is not removed now is left to the sweep; `_told` has logged why.
        with suppress(FilesUnavailable, OSError), _told("end an upload"):
            # With an error, the library ends the upload at the storage.
            await self._upload.__aexit__(RuntimeError, RuntimeError("abandoned"), None)
        if self._may_exist and self._is_only_one:
            # Only the answer may have been lost.
            with suppress(FilesUnavailable, OSError):
                await self._contents.remove(self._file_id)


def _open(address: S3Address, endpoint: str) -> "S3Store":
    # Fifteen megabytes of machine code, which only this storage needs.
    from obstore.store import S3Store  # noqa: PLC0415

    config: S3Config = {
        "virtual_hosted_style_request": address.virtual_hosts,
        # One object at a time is removed, and not every storage knows the request for many.
        "disable_bulk_delete": True,
    }
    if endpoint:
        config["endpoint"] = endpoint
    if address.region or endpoint:
        config["region"] = address.region or "us-east-1"
    if address.keys is not None:
        config["access_key_id"] = address.keys.access_key
        config["secret_access_key"] = address.keys.secret_key
        if address.keys.session_token:
            config["session_token"] = address.keys.session_token
    return S3Store(
        address.bucket,
        prefix=address.prefix or None,
        config=config,
        client_options={
            "allow_http": endpoint.startswith("http://"),
            "connect_timeout": CONNECT_S,
            "read_timeout": SILENCE_S,
            "timeout": ANSWER_S,
        },
        retry_config={"max_retries": RETRIES, "retry_timeout": RETRY_S},
    )


def _key(file_id: str) -> str:
    return f"complete/{file_id}"


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Turn an error of the library into FilesUnavailable, or OSError when there is no room."""
    from obstore.exceptions import BaseError  # noqa: PLC0415

    try:
        yield
    except FileNotFoundError:
        raise
    except (BaseError, OSError, ValueError) as error:
        # The first line; the others repeat it with the structure of the library's error.
        line = str(error).partition("\n")[0]
        log.warning("S3 could not %s: %s", what, line[:500])
        if _IS_FULL.search(str(error)):
            raise OSError(errno.ENOSPC, "the storage is full") from None
        raise FilesUnavailable(what, "see the log of the queue service") from None
