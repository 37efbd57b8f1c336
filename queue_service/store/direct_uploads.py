"""Clients send contents to S3 themselves, to an address that the queue service has signed.

    <prefix>/incoming/<id>/direct   what was sent, until it is complete

S3 takes only the announced size and SHA-256, because both are in the signature.  Not every storage
checks the SHA-256, so this is tried once: if a wrong one is accepted, this process reads what was
sent.  The complete content is a copy, to which no client has an address.
"""

import base64
import hashlib
import logging
import os
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote

import aiohttp
from yarl import URL

from queue_service.store.contents import Content, UploadAddress
from queue_service.store.s3_contents import ADDRESS_VALID, S3Address, S3Contents
from queue_service.store.s3_errors import FilesUnavailable
from queue_service.store.s3_signing import Keys, presigned

log = logging.getLogger(__name__)

#: The most that S3 takes in one request, and copies in one.
MOST_BYTES = 5 * 1024 * 1024 * 1024
#: The longest time of a request by this process, in seconds.
ANSWER_S = 30.0
#: A browser that opens the address of an object saves it, and does not run it.
_SAVED = {"content-type": "application/octet-stream", "content-disposition": "attachment"}


class DirectUploadsToS3:
    """Contents that clients send to S3.  Every method raises FilesUnavailable."""

    most_bytes = MOST_BYTES

    def __init__(self, contents: S3Contents, address: S3Address, keys: Keys) -> None:
        self._contents = contents
        self._address = address
        self._keys = keys
        #: Whether the storage refuses a content with another SHA-256; None until it was tried.
        self._compares: bool | None = None

    @classmethod
    def of(cls, contents: S3Contents, address: S3Address) -> "DirectUploadsToS3 | None":
        """Return them; None without keys, as with the role of a machine."""
        keys = address.keys or Keys.of_environment()
        return None if keys is None else cls(contents, address, keys)

    async def address(self, file_id: str, *, size_bytes: int, sha256: str) -> UploadAddress:
        """Return where a client sends a content of this size and SHA-256."""
        address = self._address
        endpoint = address.public_endpoint or address.endpoint
        headers = _headers(size_bytes, bytes.fromhex(sha256))
        url = self._signed("PUT", endpoint, _key(file_id), headers)
        return UploadAddress(url, headers, int(ADDRESS_VALID.total_seconds()))

    async def complete(self, file_id: str, size_bytes: int) -> Content:
        """Make what was sent a complete content; raises FileNotFoundError, or OSError."""
        # First: the client can still write to the address, so only a copy can be checked.  After
        # an error the copy stays: another process may have made it a file meanwhile.
        await self._contents.copy_key(_key(file_id), file_id)
        return await self._content(file_id)

    async def _content(self, file_id: str) -> Content:
        size = await self._contents.size_bytes(file_id)
        if size is None:
            raise FileNotFoundError(file_id)
        if await self._has_compared():
            known = await self._sha256(f"complete/{file_id}")
            if known is not None:
                return Content(size, known)
        digest = hashlib.sha256()
        async for piece in self._contents.read(file_id, 0, size):
            digest.update(piece)
        return Content(size, digest.hexdigest())

    async def _has_compared(self) -> bool:
        if self._compares is None:
            key = f"incoming/try_{secrets.token_hex(16)}/direct"
            headers = _headers(1, hashlib.sha256(b"another").digest())
            status, _ = await self._ask("PUT", key, headers, b"x")
            await self._contents.remove_key(key)
            if status >= 500:
                raise FilesUnavailable("write a file", f"S3 answers {status}")
            self._compares = status >= 400
            if not self._compares:
                log.info(
                    "The storage of files does not check the SHA-256 of an upload; the queue "
                    "service reads what clients have sent to it."
                )
        return self._compares

    async def _sha256(self, key: str) -> str | None:
        """Return what the storage says of an object; None if it says nothing."""
        asked = {"x-amz-checksum-mode": "ENABLED"}
        status, headers = await self._ask("HEAD", key, asked, None)
        if status != 200:
            raise FilesUnavailable("look at a file", f"S3 answers {status}")
        try:
            digest = base64.b64decode(headers.get("x-amz-checksum-sha256", ""), validate=True)
        except ValueError:
            # For a multipart object it is a checksum of the parts' checksums, with their number.
            return None
        return digest.hex() if len(digest) == hashlib.sha256().digest_size else None

    async def _ask(
        self, method: str, key: str, headers: Mapping[str, str], data: bytes | None
    ) -> tuple[int, Mapping[str, str]]:
        url = self._signed(method, self._address.endpoint, key, headers)
        try:
            async with (
                aiohttp.ClientSession(
                    timeout=aiohttp.ClientTimeout(total=ANSWER_S),
                    cookie_jar=aiohttp.DummyCookieJar(),
                ) as session,
                session.request(
                    method,
                    URL(url, encoded=True),
                    headers=headers,
                    data=data,
                    allow_redirects=False,
                ) as answer,
            ):
                return answer.status, answer.headers
        except (aiohttp.ClientError, OSError) as error:
            raise FilesUnavailable("look at a file", type(error).__name__) from error

    def _signed(self, method: str, endpoint: str, key: str, headers: Mapping[str, str]) -> str:
        address = self._address
        region = (
            address.region
            or os.environ.get("AWS_REGION")
            or os.environ.get("AWS_DEFAULT_REGION")
            or "us-east-1"
        )
        endpoint = endpoint or os.environ.get("AWS_ENDPOINT_URL", "")
        base = endpoint.rstrip("/") or f"https://s3.{region}.amazonaws.com"
        if not (endpoint and address.virtual_hosts):
            # Else the endpoint names the bucket already.
            base = f"{base}/{address.bucket}"
        path = quote(f"{address.prefix}/{key}".lstrip("/"))
        return presigned(
            method,
            f"{base}/{path}",
            headers,
            keys=self._keys,
            region=region,
            now=datetime.now(UTC),
            valid_s=int(ADDRESS_VALID.total_seconds()),
        )


def _key(file_id: str) -> str:
    return f"incoming/{file_id}/direct"


def _headers(size_bytes: int, digest: bytes) -> dict[str, str]:
    return {
        **_SAVED,
        "content-length": str(size_bytes),
        "x-amz-checksum-sha256": base64.b64encode(digest).decode(),
    }
