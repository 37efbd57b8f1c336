"""Finds and ends uploads to S3 that a killed process left unfinished.

No list of objects shows them, but they cost as much.  obstore has no call for them.
"""

import logging
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote
from xml.etree import ElementTree

import aiohttp
from yarl import URL

from queue_service.store.s3_errors import FilesUnavailable
from queue_service.store.s3_signing import Keys, query_of, signed

log = logging.getLogger(__name__)

#: The longest answer, in seconds.
ANSWER_S = 30.0
#: The most of an answer that is read, in bytes: a list of 1000 uploads has a third of it.
MOST_ANSWER_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Unfinished:
    key: str
    upload_id: str
    began_at: datetime


class UnfinishedUploads:
    """The unfinished uploads below one prefix of a bucket."""

    def __init__(self, bucket_url: str, prefix: str, region: str, keys: Keys) -> None:
        self._bucket_url = bucket_url
        self._prefix = prefix
        self._region = region
        self._keys = keys

    @classmethod
    def of(
        cls, *, bucket: str, prefix: str, endpoint: str, region: str, keys: Keys | None
    ) -> "UnfinishedUploads | None":
        """Return them; None without keys, as with the role of a machine."""
        keys = keys or Keys.of_environment()
        endpoint = endpoint or os.environ.get("AWS_ENDPOINT_URL", "")
        region = region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION", "")
        region = region or "us-east-1"
        if keys is None:
            log.warning(
                "Without PENSTOCK_FILES_ACCESS_KEY, unfinished uploads to S3 are not removed. "
                "Add a lifecycle rule to the bucket that ends incomplete multipart uploads."
            )
            return None
        base = endpoint.rstrip("/") or f"https://s3.{region}.amazonaws.com"
        return cls(f"{base}/{bucket}", prefix, region, keys)

    async def remove(self, *, older_than_s: float) -> int:
        """End uploads whose last part is older than this; return how many."""
        before, count = datetime.now(UTC) - timedelta(seconds=older_than_s), 0
        async with aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=ANSWER_S), cookie_jar=aiohttp.DummyCookieJar()
        ) as session:
            async for one in self._list(session):
                if one.began_at < before and await self._last_part_at(session, one) < before:
                    query = {"uploadId": one.upload_id}
                    await self._ask(session, "DELETE", one.key, query, passes=(204, 200, 404))
                    count += 1
        return count

    async def _list(self, session: aiohttp.ClientSession) -> AsyncIterator[_Unfinished]:
        after: dict[str, str] = {}
        while True:
            query = {"uploads": "", "prefix": self._prefix, **after}
            found = await self._ask(session, "GET", "", query)
            for one in found.iter(_tag(found, "Upload")):
                key, upload_id = _text(one, "Key"), _text(one, "UploadId")
                # Storages may ignore the prefix.
                if key.startswith(self._prefix):
                    yield _Unfinished(key, upload_id, _time(_text(one, "Initiated")))
            if _text(found, "IsTruncated") != "true":
                return
            after = {
                "key-marker": _text(found, "NextKeyMarker"),
                "upload-id-marker": _text(found, "NextUploadIdMarker"),
            }

    async def _last_part_at(self, session: aiohttp.ClientSession, one: _Unfinished) -> datetime:
        last, after = one.began_at, "0"
        while True:
            query = {"uploadId": one.upload_id, "part-number-marker": after}
            found = await self._ask(session, "GET", one.key, query, passes=(200, 404))
            for part in found.iter(_tag(found, "Part")):
                last = max(last, _time(_text(part, "LastModified")))
            if _text(found, "IsTruncated") != "true":
                return last
            after = _text(found, "NextPartNumberMarker")

    async def _ask(
        self,
        session: aiohttp.ClientSession,
        method: str,
        key: str,
        query: Mapping[str, str],
        passes: tuple[int, ...] = (200,),
    ) -> ElementTree.Element:
        url = f"{self._bucket_url}/{quote(key)}" if key else self._bucket_url
        headers = signed(
            method, url, query, keys=self._keys, region=self._region, now=datetime.now(UTC)
        )
        target = URL(f"{url}?{query_of(query)}", encoded=True)
        try:
            async with session.request(
                method, target, headers=headers, allow_redirects=False
            ) as answer:
                body = await _body_of(answer)
            if answer.status not in passes:
                raise FilesUnavailable("list uploads", f"S3 answers {answer.status}")
            return ElementTree.fromstring(body) if body.strip() else ElementTree.Element("None")
        except (aiohttp.ClientError, OSError, ElementTree.ParseError) as error:
            raise FilesUnavailable("list uploads", type(error).__name__) from error


async def _body_of(answer: aiohttp.ClientResponse) -> bytes:
    """Return the body, of which one read is only what has arrived."""
    body = bytearray()
    async for piece in answer.content.iter_any():
        body += piece
        if len(body) > MOST_ANSWER_BYTES:
            raise FilesUnavailable("list uploads", f"more than {MOST_ANSWER_BYTES} bytes")
    return bytes(body)


def _tag(of: ElementTree.Element, name: str) -> str:
    # The answer's own namespace, which not every storage has.
    space, mark, _ = of.tag.partition("}")
    return f"{space}}}{name}" if mark else name


def _text(of: ElementTree.Element, name: str) -> str:
    return of.findtext(_tag(of, name)) or ""


def _time(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        # A time that cannot be read protects the upload.
        return datetime.now(UTC)
    return found if found.tzinfo else found.replace(tzinfo=UTC)
