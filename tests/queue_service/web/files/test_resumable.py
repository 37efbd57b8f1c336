"""Uploads resume after an interruption, at any replica, in a folder and in S3."""

import asyncio
import base64
import hashlib
import io
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.conftest import Serve
from tests.running import ADMIN_TOKEN, TOKEN
from tests.s3_server import bucket_at
from tests.waiting import wait_until

LARGE = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(300_000))
PATCH = {"Content-Type": "application/offset+octet-stream", "Tus-Resumable": "1.0.0"}


def metadata(**pairs: str) -> str:
    return ",".join(
        f"{name} {base64.b64encode(text.encode()).decode()}" for name, text in pairs.items()
    )


@dataclass
class Api:
    """The files API of two replicas."""

    session: aiohttp.ClientSession
    urls: list[str]
    token: str = TOKEN
    asked: list[str] = field(default_factory=list)

    async def ask(
        self, method: str, path: str, body: Any = None, *, at: Any = 0, **headers: Any
    ) -> aiohttp.ClientResponse:
        body = io.BytesIO(body) if isinstance(body, bytes) else body
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        async with self.session.request(
            method, self.urls[at] + path, data=body, headers={"Authorization": self.token, **named}
        ) as answer:
            await answer.read()
            return answer

    async def begin(self, size: int = len(LARGE), **pairs: str) -> str:
        answer = await self.ask(
            "POST",
            "/v1/files/uploads",
            Upload_Length=str(size),
            Upload_Metadata=metadata(**pairs),
        )
        assert answer.status == 201, await answer.text()
        return answer.headers["Location"]

    async def append(self, path: str, offset: int, body: Any, *, at: int = 0) -> int:
        headers = {**PATCH, "Upload-Offset": str(offset)}
        return (await self.ask("PATCH", path, body, at=at, **headers)).status

    async def offset(self, path: str, *, at: int = 0) -> int:
        answer = await self.ask("HEAD", path, at=at)
        assert answer.status == 200, answer.status
        assert answer.headers["Cache-Control"] == "no-store"
        return int(answer.headers["Upload-Offset"])

    async def content(self, path: str) -> bytes:
        file = path.rpartition("/")[2]
        async with self.session.get(
            f"{self.urls[0]}/v1/files/{file}/content", headers={"Authorization": self.token}
        ) as answer:
            assert answer.status == 200, answer.status
            return await answer.read()


@pytest.fixture(params=["folder", "s3"])
async def api(request: pytest.FixtureRequest, serve: Serve, tmp_path: Path) -> AsyncIterator[Api]:
    async with AsyncExitStack() as stack:
        settings: dict[str, Any] = {"files_dir": str(tmp_path / "files"), "files_reserve_mb": 0}
        bucket = None
        if request.param == "s3":
            storage = request.getfixturevalue("storage_url")
            name = f"bucket-{uuid.uuid4().hex}"
            bucket = await stack.enter_async_context(bucket_at(storage, name))
            settings = bucket.settings
        urls = [await serve({"name": "svc"}, **settings) for _ in range(2)]
        session = await stack.enter_async_context(aiohttp.ClientSession())
        api = Api(session, urls)
        yield api
        mine = {"Authorization": TOKEN}
        async with session.get(f"{urls[0]}/v1/files", headers=mine) as answer:
            for file in (await answer.json())["data"]:
                await api.ask("DELETE", f"/v1/files/{file['id']}")
        if bucket is not None:
            assert await bucket.stored() == []
        left = (tmp_path / "files").rglob("*")
        assert [path for path in left if path.is_file()] == []


async def test_parts_at_several_replicas_become_one_file(api: Api) -> None:
    path = await api.begin(filename="film.mp4", filetype="video/mp4", purpose="vision", path="/x")
    assert await api.offset(path) == 0
    first, second = 1_000_000, 5_000_000
    assert await api.append(path, 0, LARGE[:first]) == 204
    assert (await api.ask("GET", f"/v1/files/{path.rpartition('/')[2]}")).status == 404, "a part"
    assert await api.offset(path, at=1) == first
    assert await api.append(path, first, LARGE[first:second], at=1) == 204
    assert await api.append(path, second, LARGE[second:]) == 204
    assert await api.offset(path) == len(LARGE)
    assert await api.content(path) == LARGE
    answer = await api.ask("GET", f"/v1/files/{path.rpartition('/')[2]}")
    file = await answer.json()
    assert file["sha256"] == hashlib.sha256(LARGE).hexdigest()
    assert (file["filename"], file["content_type"], file["purpose"]) == (
        "film.mp4",
        "video/mp4",
        "vision",
    )


async def test_what_arrived_before_a_connection_broke_stays(api: Api) -> None:
    path = await api.begin()
    sent = asyncio.Event()

    async def broken() -> AsyncIterator[bytes]:
        for start in range(0, 3_000_000, 500_000):
            yield LARGE[start : start + 500_000]
        sent.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(api.append(path, 0, broken()))
    await sent.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    async def has_ended() -> bool:
        at = await api.offset(path)
        # The first request holds the upload until the service sees that its client has gone.
        return await api.append(path, at, b"") == 204 and at > 0

    await wait_until(has_ended, "a part is there, and nothing holds it")
    at = await api.offset(path)
    assert 0 < at <= 3_000_000
    assert await api.append(path, at, LARGE[at:]) == 204
    assert await api.content(path) == LARGE


async def test_a_part_at_the_wrong_place_and_too_much_are_refused(api: Api) -> None:
    path = await api.begin(10)
    assert await api.append(path, 5, b"12345") == 409
    assert await api.append(path, 0, b"12345") == 204
    assert await api.append(path, 0, b"12345") == 409
    assert await api.append(path, 5, b"123456") == 413
    assert await api.offset(path) == 5
    assert (await api.ask("PATCH", path, b"1", **{"Upload-Offset": "5"})).status == 400
    assert await api.append(path, 5, b"67890") == 204
    assert await api.append(path, 10, b"") == 204, "the answer may have been lost"
    assert await api.content(path) == b"1234567890"


async def test_an_upload_is_given_up(api: Api) -> None:
    path = await api.begin(10)
    assert await api.append(path, 0, b"12345") == 204
    assert (await api.ask("DELETE", path)).status == 204
    assert (await api.ask("HEAD", path)).status == 404
    assert await api.append(path, 5, b"67890") == 404
    assert (await api.ask("DELETE", path)).status == 404


async def test_an_empty_file_is_there_at_once(api: Api) -> None:
    assert await api.content(await api.begin(0)) == b""


async def test_a_content_that_its_owner_has_is_not_sent_again(api: Api) -> None:
    digest = hashlib.sha256(LARGE).hexdigest()
    first = await api.begin(sha256=digest)
    assert await api.offset(first) == 0
    again = await api.begin(sha256=digest)
    assert again == first, "an interrupted upload of it goes on"
    assert await api.append(first, 0, LARGE) == 204
    second = await api.begin(sha256=digest, filename="second")
    assert second != first
    assert await api.offset(second) == len(LARGE)
    await api.ask("DELETE", f"/v1/files/{first.rpartition('/')[2]}")
    assert await api.content(second) == LARGE
    # Another size is another content, whatever is said of it.
    third = await api.begin(5, sha256=digest)
    assert await api.offset(third) == 0
    assert (await api.ask("DELETE", third)).status == 204


async def test_a_sum_reveals_nothing_about_other_owners(api: Api) -> None:
    digest = hashlib.sha256(LARGE).hexdigest()
    mine = await api.begin(sha256=digest)
    assert await api.append(mine, 0, LARGE) == 204
    async with api.session.post(
        f"{api.urls[0]}/v1/tokens",
        json={"scopes": ["submit", "read", "all"]},
        headers={"Authorization": ADMIN_TOKEN},
    ) as answer:
        other = Api(api.session, api.urls, (await answer.json())["token"])
    theirs = await other.begin(sha256=digest)
    assert await other.offset(theirs) == 0
    assert (await api.ask("HEAD", theirs)).status == 404
    assert await api.append(theirs, 0, b"x") == 404
    assert (await api.ask("DELETE", theirs)).status == 404
    assert (await other.ask("DELETE", theirs)).status == 204


async def test_a_content_that_is_not_what_was_announced_is_refused(api: Api) -> None:
    path = await api.begin(5, sha256=hashlib.sha256(b"other").hexdigest())
    assert await api.append(path, 0, b"12345") == 400
    assert (await api.ask("HEAD", path)).status == 404
    assert (await api.ask("GET", f"/v1/files/{path.rpartition('/')[2]}")).status == 404


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Upload-Length": "-1"},
        {"Upload-Length": "1", "Upload-Metadata": "filename not-base64!"},
        {"Upload-Length": "1", "Upload-Metadata": metadata(sha256="short")},
        {"Upload-Length": "1", "Upload-Metadata": metadata(purpose="NOT A WORD")},
    ],
)
async def test_a_bad_beginning_is_named(api: Api, headers: dict[str, str]) -> None:
    answer = await api.ask("POST", "/v1/files/uploads", **headers)
    assert answer.status == 400
    assert "expected" in (await answer.json())["error"]["message"]


async def test_the_number_and_the_size_of_uploads_are_limited(api: Api) -> None:
    too_large = await api.ask("POST", "/v1/files/uploads", **{"Upload-Length": str(2**50)})
    assert too_large.status == 413
    paths = [await api.begin(1) for _ in range(64)]
    assert (await api.ask("POST", "/v1/files/uploads", **{"Upload-Length": "1"})).status == 507
    for path in paths:
        await api.ask("DELETE", path)
