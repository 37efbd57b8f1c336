"""Downloads a content to a file: in pieces, resumed after a broken connection, checked at its end.

The content is written beside the target under another name, which it gets only when it is complete.
"""

import asyncio
import base64
import binascii
import hashlib
import os
import re
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

import aiohttp
from yarl import URL

from client_sdk import errors
from client_sdk.content import OnProgress
from client_sdk.refusals import from_answer
from client_sdk.replicas import is_about_replica
from client_sdk.transport import Transport
from client_sdk.unreachable import failed_connection

#: How much is collected before a thread writes it, in bytes.
WRITE_BYTES = 1024 * 1024
#: A sender that is silent for this long, in seconds, is given up.
SILENCE_S = 60.0
#: A storage that is not reached after this time, in seconds, is not used.
STORAGE_CONNECT_S = 5.0
#: As much of an error response is read, in bytes.
MOST_ERROR_BYTES = 64 * 1024
#: The address of a file at another server is followed this often; the token is not sent there.
_MOST_REDIRECTS = 3

_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


class NotReady(Exception):
    """The content does not exist yet: the response was 202."""


class _StorageFailed(Exception):
    """The storage did not send the content, after a redirect from the service."""


class _CannotWrite(Exception):
    """Wraps an OSError of our disk, which is none of the connection."""

    def __init__(self, error: OSError) -> None:
        self.error = error


def replaceable(target: Path) -> Path:
    """Return the file behind a link, which is replaced, not the link; raises BadParameter."""
    real = target.resolve()
    if real.exists() and not real.is_file():
        raise errors.BadParameter(f"expected the name of a file, {target} is none")
    return real


class Download:
    """One download.

    target: the path and query, encoded, below the address of a replica.
    size_bytes, sha256: what the content must have; None and "" if unknown, then what the response
    says counts.
    wait_s: how long the service may wait before it responds, in seconds.
    confirms: whether to tell the service in the end that all has arrived, if it cannot see that:
    the content came in parts, or from elsewhere.
    from_storage: ask the service for an address in its storage, and use that if it can be reached.
    """

    def __init__(
        self,
        transport: Transport,
        target: str,
        *,
        size_bytes: int | None = None,
        sha256: str = "",
        wait_s: float = 0.0,
        from_storage: bool = False,
        on_progress: OnProgress | None = None,
        confirms: bool = False,
    ) -> None:
        self._confirms, self._unseen_etag = confirms, ""
        self._transport = transport
        self._target = target
        self._known = size_bytes, sha256
        self._size_bytes, self._sha256 = self._known
        self._wait_s = wait_s
        self._from_storage = from_storage
        self._query = "?redirect=true" if from_storage else ""
        self._on_progress = on_progress
        #: The media type of the content, "" if it has none; known after `to`.
        self.content_type = ""
        self._etag = ""
        self._got_bytes = 0
        self._digest = hashlib.sha256()
        self._file: IO[bytes]

    async def to(self, target: Path) -> Path:
        """Download to this file, which is replaced if it exists; return its path.

        Raises QueueError, NotReady, and the OSError of a file that cannot be written.
        """
        real = await asyncio.to_thread(replaceable, target)
        part = real.with_name(f".{real.name[:100]}.{secrets.token_hex(8)}.part")
        done = False
        try:
            with part.open("xb", buffering=0) as self._file:
                await self._all()
            await asyncio.to_thread(os.replace, part, real)
            done = True
        except _CannotWrite as wrapped:
            raise wrapped.error from None
        finally:
            if not done:
                with suppress(OSError):
                    part.unlink(missing_ok=True)
        return target

    async def _all(self) -> None:
        transport, backoff = self._transport, self._transport.retry.backoff()
        while True:
            replica, before = transport.replicas.current, self._got_bytes
            try:
                await self._once(f"{replica}{self._target}")
                break
            except errors.QueueError as error:
                if self._got_bytes > before:
                    backoff.reset()
                if not error.transient or backoff.tries >= transport.retry.retries:
                    raise
                if is_about_replica(error):
                    transport.replicas.pass_over(replica)
            await asyncio.sleep(backoff.next_delay_s())
        self._check(transport.replicas.current)
        if self._confirms and self._unseen_etag:
            await self._confirm(f"{transport.replicas.current}{self._target}")

    async def _confirm(self, url: str) -> None:
        headers = {"If-None-Match": self._unseen_etag}
        timeout = aiohttp.ClientTimeout(total=self._transport.timeout_s + self._wait_s)
        # It has the content, so nothing else depends on this.
        with suppress(aiohttp.ClientError, OSError, errors.QueueError):
            async with self._transport.session.get(
                URL(url, encoded=True), headers=headers, allow_redirects=False, timeout=timeout
            ):
                pass

    def _check(self, url: str) -> None:
        if self._size_bytes not in (None, self._got_bytes):
            raise errors.BadMessage(
                f"expected {self._size_bytes} bytes, got {self._got_bytes}", url=url
            )
        if self._sha256 and (got := self._digest.hexdigest()) != self._sha256:
            raise errors.BadMessage(f"expected the SHA-256 {self._sha256}, got {got}", url=url)

    async def _once(self, url: str) -> None:
        # A proxy that compresses would change what a range is.
        headers = {"Accept-Encoding": "identity"}
        if self._got_bytes:
            headers["Range"] = f"bytes={self._got_bytes}-"
            if self._etag:
                headers["If-Range"] = self._etag
        try:
            await self._get(url + self._query, url, headers)
        except _StorageFailed:
            # Perhaps only the service can reach it, or it is down: the service sends the bytes.
            self._from_storage, self._query = False, "?redirect=false"
            await self._once(url)

    async def _get(self, first: str, url: str, headers: dict[str, str]) -> None:
        session, at, is_elsewhere = self._transport.session, URL(first, encoded=True), False
        try:
            for _ in range(_MOST_REDIRECTS):
                async with session.get(
                    at,
                    headers=headers,
                    allow_redirects=False,
                    read_bufsize=WRITE_BYTES,
                    timeout=aiohttp.ClientTimeout(
                        total=None,
                        sock_connect=STORAGE_CONNECT_S if self._goes_on(is_elsewhere) else 30.0,
                        sock_read=SILENCE_S + self._wait_s,
                    ),
                ) as response:
                    if response.status in (302, 303, 307, 308) and "Location" in response.headers:
                        at = at.join(URL(response.headers["Location"], encoded=True))
                        is_elsewhere = is_elsewhere or at.origin() != URL(url).origin()
                        if is_elsewhere:
                            self._unseen_etag = response.headers.get("ETag", "")
                            # It gets no token.
                            session = self._transport.session_without_token
                        continue
                    if self._goes_on(is_elsewhere) and response.status not in (200, 206, 416):
                        raise _StorageFailed
                    await self._receive(response, url)
                    return
            raise errors.BadMessage("the response redirects too often", url=url)
        except (aiohttp.ClientError, OSError) as error:
            if self._goes_on(is_elsewhere):
                raise _StorageFailed from error
            raise failed_connection(error, "no data in time", url=url) from error

    def _goes_on(self, is_elsewhere: bool) -> bool:
        """Say whether to fall back to the service, which has the bytes too."""
        return is_elsewhere and self._from_storage

    async def _receive(self, response: aiohttp.ClientResponse, url: str) -> None:
        match response.status:
            case 202:
                raise NotReady
            case 200 | 204:
                await self._restart()
            case 206 if self._resumes(response):
                pass
            case 416 if self._size_bytes is not None and self._got_bytes >= self._size_bytes:
                return
            case _:
                body = await response.content.read(MOST_ERROR_BYTES)
                raise from_answer(response.status, response.headers, body, url=url)
        self.content_type = response.headers.get("Content-Type", "")
        etag = response.headers.get("ETag", "")
        self._etag = "" if etag.startswith("W/") else etag
        if response.status == 206 and not self._unseen_etag:
            self._unseen_etag = self._etag
        self._note_expected(response)
        waiting = bytearray()
        try:
            async for piece in response.content.iter_any():
                waiting += piece
                if len(waiting) >= WRITE_BYTES:
                    await self._write(bytes(waiting))
                    waiting.clear()
        finally:
            # Also what arrived before the connection broke: the next attempt goes on after it.
            await self._write(bytes(waiting))

    def _resumes(self, response: aiohttp.ClientResponse) -> bool:
        found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        return found is not None and int(found[1]) == self._got_bytes

    def _note_expected(self, response: aiohttp.ClientResponse) -> None:
        if response.status == 206:
            return
        self._size_bytes, self._sha256 = self._known
        if self._size_bytes is None:
            self._size_bytes = response.content_length
        match = re.search(r"sha-256=:([^:]+):", response.headers.get("Repr-Digest", ""))
        if match and not self._sha256:
            with suppress(binascii.Error, ValueError):
                self._sha256 = base64.b64decode(match[1], validate=True).hex()

    async def _restart(self) -> None:
        if self._got_bytes:
            self._got_bytes, self._digest = 0, hashlib.sha256()
            await self._to_disk(lambda: (self._file.seek(0), self._file.truncate()))

    async def _write(self, data: bytes) -> None:
        if not data:
            return
        if self._size_bytes is not None and self._got_bytes + len(data) > self._size_bytes:
            raise errors.BadMessage(f"expected {self._size_bytes} bytes, got more")

        def write() -> None:
            self._digest.update(data)
            view = memoryview(data)
            while view:
                view = view[self._file.write(view) :]

        await self._to_disk(write)
        self._got_bytes += len(data)
        if self._on_progress is not None:
            self._on_progress(self._got_bytes, self._size_bytes)

    async def _to_disk(self, write: Callable[[], object]) -> None:
        try:
            await asyncio.to_thread(write)
        except OSError as error:
            raise _CannotWrite(error) from error
