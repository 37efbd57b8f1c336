"""Clients send contents to S3 themselves: checked before they are files, and counted before."""

import base64
import hashlib
import io
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from client_sdk import AsyncQueueClient, RetryPolicy, resumable
from tests.conftest import Serve
from tests.queue_service.store.test_s3_contents import contents_of
from tests.running import TOKEN, free_port
from tests.s3_server import Bucket

LARGE = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(100_000))
SUM = hashlib.sha256(LARGE).hexdigest()
#: What was sent instead, in the same size.
ANOTHER = LARGE[:-1] + b"x"
FAST = RetryPolicy(retries=3, first_delay_s=0.01, most_delay_s=0.2)


class Client:
    """A client of the files API, and a stranger at the storage."""

    def __init__(self, url: str, ours: aiohttp.ClientSession, bare: aiohttp.ClientSession) -> None:
        self.url = url
        self._ours = ours
        self._bare = bare

    async def ask(self, method: str, path: str, **more: Any) -> tuple[int, bytes]:
        async with self._ours.request(method, self.url + path, **more) as answer:
            return answer.status, await answer.read()

    async def begin(
        self, data: bytes = LARGE, *, query: str = "?direct=true", digest: str = SUM
    ) -> dict[str, Any]:
        headers = {"Upload-Length": str(len(data))}
        if digest:
            headers["Upload-Metadata"] = f"sha256 {base64.b64encode(digest.encode()).decode()}"
        status, body = await self.ask("POST", f"/v1/files/uploads{query}", headers=headers)
        assert status == 201, body
        found: dict[str, Any] = json.loads(body)
        return found

    async def send(self, begun: dict[str, Any], data: bytes = LARGE) -> int:
        direct = begun["direct"]
        assert direct["method"] == "PUT"
        assert direct["expires_in"] == 900
        async with self._bare.put(
            direct["url"], data=io.BytesIO(data), headers=direct["headers"]
        ) as answer:
            return answer.status

    async def complete(self, begun: dict[str, Any]) -> int:
        return (await self.ask("POST", f"/v1/files/uploads/{begun['id']}/complete"))[0]

    async def status(self, begun: dict[str, Any]) -> int:
        return (await self.ask("GET", f"/v1/files/{begun['id']}"))[0]

    async def delete(self, begun: dict[str, Any]) -> None:
        assert (await self.ask("DELETE", f"/v1/files/{begun['id']}"))[0] == 200

    async def give_up(self, begun: dict[str, Any]) -> None:
        assert (await self.ask("DELETE", f"/v1/files/uploads/{begun['id']}"))[0] == 204


@pytest.fixture
async def sessions() -> AsyncIterator[tuple[aiohttp.ClientSession, aiohttp.ClientSession]]:
    async with (
        aiohttp.ClientSession(headers={"Authorization": TOKEN}) as ours,
        aiohttp.ClientSession() as bare,
    ):
        yield ours, bare


Sessions = tuple[aiohttp.ClientSession, aiohttp.ClientSession]


@pytest.fixture
async def client(serve: Serve, bucket: Bucket, sessions: Sessions) -> AsyncIterator[Client]:
    yield Client(await serve({"name": "svc"}, **bucket.settings), *sessions)
    assert await bucket.stored() == []


async def test_what_is_sent_to_the_storage_is_a_file_once_it_was_checked(
    client: Client, bucket: Bucket
) -> None:
    begun = await client.begin()
    assert begun["direct"]["url"].startswith(f"{bucket.url}/{bucket.name}/in/here/incoming/")
    assert await client.send(begun) == 200
    assert await client.status(begun) == 404, "nobody has checked it"
    assert await client.complete(begun) == 200
    assert await client.complete(begun) == 200, "the first answer may have been lost"
    assert len(await bucket.stored()) == 1
    path = f"/v1/files/{begun['id']}"
    found = json.loads((await client.ask("GET", path))[1])
    assert (found["bytes"], found["sha256"]) == (len(LARGE), SUM)
    assert (await client.ask("GET", f"{path}/content"))[1] == LARGE
    assert not [one for one in bucket.requests if one.startswith("PATCH")]
    # The address is still valid, and changes nothing.
    assert await client.send(begun, ANOTHER) == 200
    assert (await client.ask("GET", f"{path}/content"))[1] == LARGE
    await contents_of(bucket).remove_key(f"incoming/{begun['id']}/direct")
    await client.delete(begun)


async def test_another_content_than_was_announced_is_refused(client: Client) -> None:
    begun = await client.begin()
    assert await client.send(begun, ANOTHER) == 200
    assert await client.complete(begun) == 400
    assert await client.status(begun) == 404
    assert await client.complete(begun) == 404, "the upload has ended"


async def test_the_service_takes_what_was_not_sent_to_the_storage(client: Client) -> None:
    begun = await client.begin()
    assert await client.complete(begun) == 409
    headers = {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    path = f"/v1/files/uploads/{begun['id']}"
    status, _ = await client.ask("PATCH", path, data=io.BytesIO(LARGE), headers=headers)
    assert status == 204
    assert (await client.ask("GET", f"/v1/files/{begun['id']}/content"))[1] == LARGE
    await client.delete(begun)


async def test_the_same_upload_gets_another_address_when_it_goes_on(client: Client) -> None:
    begun = await client.begin()
    again = await client.begin()
    assert again["id"] == begun["id"]
    assert await client.send(again) == 200
    await client.give_up(begun)
    assert await client.complete(begun) == 404


async def test_an_address_is_given_to_those_who_ask_and_can_be_checked(client: Client) -> None:
    for query, digest, data in (
        ("", SUM, LARGE),
        ("?direct=false", SUM, LARGE),
        ("?direct=true", "", LARGE),
    ):
        begun = await client.begin(data, query=query, digest=digest)
        assert "direct" not in begun
        await client.give_up(begun)
    status, _ = await client.ask(
        "POST", "/v1/files/uploads?direct=maybe", headers={"Upload-Length": "1"}
    )
    assert status == 400


async def test_the_operator_decides_and_a_folder_has_no_addresses(
    serve: Serve, bucket: Bucket, sessions: Sessions, tmp_path: Path
) -> None:
    for settings in (
        {**bucket.settings, "files_addresses": False},
        {"files_dir": str(tmp_path), "files_reserve_mb": 0},
    ):
        client = Client(await serve({"name": "svc"}, **settings), *sessions)
        begun = await client.begin()
        assert "direct" not in begun
        assert await client.complete(begun) == 409
        await client.give_up(begun)


async def test_what_was_announced_counts_before_it_is_there(
    serve: Serve, bucket: Bucket, sessions: Sessions
) -> None:
    url = await serve({"name": "svc"}, files_total_mb=4, **bucket.settings)
    client = Client(url, *sessions)
    begun = await client.begin()
    status, _ = await client.ask("POST", "/v1/files", data=io.BytesIO(b"x" * 2**20))
    assert status == 507
    assert await client.send(begun) == 200
    assert await client.complete(begun) == 200
    await client.delete(begun)


async def test_the_client_sends_a_large_file_to_the_storage_by_itself(
    client: Client, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resumable, "LEAST_BYTES", 1000)
    path = tmp_path / "film.mp4"
    path.write_bytes(LARGE)
    seen: list[tuple[int, int | None]] = []
    async with AsyncQueueClient(client.url, "svc", token=TOKEN, retry=FAST) as sdk:
        file = await sdk.files.upload(path, on_progress=lambda *at: seen.append(at))
        assert (file.size_bytes, file.sha256) == (len(LARGE), SUM)
        assert seen[-1] == (len(LARGE), len(LARGE))
        sent = [one for one in bucket.requests if f"{file.id}/direct" in one]
        assert [one for one in sent if one.startswith("PUT")]
        await sdk.files.delete(file.id)

        # A storage that refuses: the service takes the bytes.
        bucket.fail("500", method="PUT", path="X-Amz-Signature")
        file = await sdk.files.upload(path)
        assert file.sha256 == SUM
        await sdk.files.delete(file.id)


async def test_the_client_reaches_no_storage_and_the_service_takes_the_bytes(
    serve: Serve, bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resumable, "LEAST_BYTES", 1000)
    path = tmp_path / "film.mp4"
    path.write_bytes(LARGE)
    nowhere = f"http://127.0.0.1:{free_port()}"
    url = await serve({"name": "svc"}, **bucket.settings, files_public_endpoint=nowhere)
    async with AsyncQueueClient(url, "svc", token=TOKEN, retry=FAST) as sdk:
        file = await sdk.files.upload(path)
        assert file.sha256 == SUM
        await sdk.files.delete(file.id)
