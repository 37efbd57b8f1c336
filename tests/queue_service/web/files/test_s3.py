"""Files in S3: the same APIs as with a folder, and addresses in the storage for who asks."""

import hashlib
import io
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from client_sdk.wire import names
from client_sdk.wire import worker as wire
from queue_service.store.s3_contents import S3Address, S3Contents
from queue_service.store.s3_signing import Keys
from tests.conftest import Serve, StartService
from tests.promises.peer import Peer
from tests.running import TOKEN
from tests.s3_server import Bucket
from tests.waiting import wait_until

#: Above the inline limit, and above one part of an upload.
LARGE = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(300_000))
TAKE = {names.AUTO_DELETE: "true"}


@dataclass
class Place:
    """A service `svc` whose files are in a bucket."""

    session: aiohttp.ClientSession
    url: str
    bucket: Bucket

    @property
    def queue(self) -> str:
        return f"{self.url}{names.EAS_PREFIX}/svc"

    async def ask(
        self, method: str, path: str, body: Any = None, **more: Any
    ) -> tuple[int, bytes, Mapping[str, str]]:
        address = path if "://" in path else self.url + path
        # Large bytes may not be sent as they are, because that would take long.
        body = io.BytesIO(body) if isinstance(body, bytes) else body
        async with self.session.request(method, address, data=body, **more) as answer:
            return answer.status, await answer.read(), answer.headers

    async def upload(self, data: bytes = LARGE) -> dict[str, Any]:
        status, body, _ = await self.ask("POST", "/v1/files?filename=cat.png", data)
        assert status == 201, body
        found: dict[str, Any] = json.loads(body)
        return found

    async def is_empty(self) -> bool:
        return await self.bucket.stored() == []


@pytest.fixture
async def place(serve: Serve, bucket: Bucket) -> AsyncIterator[Place]:
    url = await serve({"name": "svc"}, **bucket.settings)
    async with aiohttp.ClientSession(headers={"Authorization": TOKEN}) as session:
        place = Place(session, url, bucket)
        yield place
        everything = {names.TRUNCATE: "true", names.INDEX: str(2**62)}
        for queue in (place.queue, f"{place.queue}/{names.SINK}"):
            await place.ask("DELETE", queue, params=everything)
        listed = json.loads((await place.ask("GET", "/v1/files"))[1])
        for file in listed["data"]:
            await place.ask("DELETE", f"/v1/files/{file['id']}")
        await wait_until(place.is_empty, "the files went with what they belong to")
        assert await bucket.unfinished() == []


async def test_a_file_is_uploaded_read_and_deleted(place: Place) -> None:
    file = await place.upload()
    assert (file["bytes"], file["sha256"]) == (len(LARGE), hashlib.sha256(LARGE).hexdigest())
    path = f"/v1/files/{file['id']}"
    status, body, headers = await place.ask("GET", f"{path}/content")
    assert (status, body) == (200, LARGE)
    assert headers["Repr-Digest"].startswith("sha-256=:")
    assert headers["ETag"] == f'"{file["sha256"][:32]}"'
    assert (await place.ask("DELETE", path))[0] == 200
    assert await place.is_empty()
    assert (await place.ask("GET", f"{path}/content"))[0] == 404


@pytest.mark.parametrize(
    ("asked", "status", "first", "last"),
    [
        ({"Range": "bytes=0-9"}, 206, 0, 10),
        ({"Range": f"bytes={len(LARGE) - 5}-"}, 206, -5, None),
        ({"Range": "bytes=-7"}, 206, -7, None),
        ({"Range": f"bytes={len(LARGE)}-"}, 416, 0, 0),
        ({"Range": "bytes=9-0"}, 416, 0, 0),
        ({"Range": "bytes=0-9", "If-Range": '"another"'}, 200, 0, None),
        ({"If-None-Match": "ETAG"}, 304, 0, 0),
        ({"If-None-Match": '"another"'}, 200, 0, None),
        ({"If-Match": '"another"'}, 412, 0, 0),
        ({"Range": "bytes=5-9", "If-Range": "ETAG"}, 206, 5, 10),
    ],
)
async def test_ranges_and_conditions_are_those_of_http(
    place: Place, asked: dict[str, str], status: int, first: int, last: int | None
) -> None:
    file = await place.upload()
    tag = f'"{file["sha256"][:32]}"'
    headers = {name: tag if text == "ETAG" else text for name, text in asked.items()}
    path = f"/v1/files/{file['id']}/content"
    found = await place.ask("GET", path, headers=headers)
    assert found[0] == status
    assert found[1] == LARGE[first:last] or status == 416
    head = await place.ask("HEAD", path, headers=headers)
    assert head[0] == status
    assert head[1] == b""
    assert head[2].get("Content-Range") == found[2].get("Content-Range")


async def test_a_redirect_to_the_storage_is_given_to_those_who_ask(place: Place) -> None:
    file = await place.upload()
    path = f"/v1/files/{file['id']}/content"
    asked = {"params": {"redirect": "true"}, "allow_redirects": False}
    status, _, headers = await place.ask("GET", path, **asked)
    assert status == 307
    assert headers["Location"].startswith(f"{place.bucket.url}/{place.bucket.name}/in/here/")
    assert headers["Cache-Control"] == "no-store"
    async with (
        aiohttp.ClientSession() as stranger,
        stranger.get(headers["Location"], headers={"Range": "bytes=10-19"}) as answer,
    ):
        assert (answer.status, await answer.read()) == (206, LARGE[10:20])
        assert answer.headers["Content-Disposition"] == "attachment"
    assert (await place.ask("HEAD", path, **asked))[0] == 200, "it is signed for one method"
    assert (await place.ask("GET", path, params={"redirect": "maybe"}))[0] == 400


async def test_a_large_result_comes_from_the_storage_and_its_tag_from_the_service(
    place: Place,
) -> None:
    assert (await place.ask("PUT", "/v1/services/svc/jobs/one", b"x"))[0] == 202
    peer = Peer(place.session, 1)
    await peer.connect(place.url)
    await wait_until(lambda: bool(peer.held), "the worker has the job")
    (delivery,) = peer.held.values()
    done = wire.Completion(delivery.index, delivery.attempt, wire.Result(LARGE, {}))
    await peer.send(wire.Completions((done,)))
    await wait_until(lambda: bool(peer.outcomes), "the result is stored")
    peer.held.clear()
    await peer.cut()
    path, asked = "/v1/services/svc/jobs/one/result", {"redirect": "true"}
    status, _, sent = await place.ask("GET", path, params=asked, allow_redirects=False)
    assert status == 307
    assert "Repr-Digest" in sent
    assert (await place.ask("GET", path, headers={"If-None-Match": sent["ETag"]}))[0] == 304
    assert (await place.ask("GET", path))[1] == LARGE


async def test_the_operator_decides_whether_there_are_redirects(
    serve: Serve, bucket: Bucket
) -> None:
    for settings, query, status in (
        ({"files_redirect": True}, {}, 307),
        ({"files_redirect": True}, {"redirect": "false"}, 200),
        ({"files_addresses": False, "files_redirect": True}, {"redirect": "true"}, 200),
        ({"files_public_endpoint": "https://files.example"}, {"redirect": "true"}, 307),
    ):
        url = await serve({"name": "svc"}, **bucket.settings, **settings)
        async with aiohttp.ClientSession(headers={"Authorization": TOKEN}) as session:
            place = Place(session, url, bucket)
            file = await place.upload(b"small")
            path = f"/v1/files/{file['id']}"
            found = await place.ask("GET", f"{path}/content", params=query, allow_redirects=False)
            assert found[0] == status
            if "files_public_endpoint" in settings:
                assert found[2]["Location"].startswith("https://files.example/")
            await place.ask("DELETE", path)


async def test_payloads_and_references_share_the_content_of_an_upload(place: Place) -> None:
    file = await place.upload()
    status, _, _ = await place.ask("POST", place.queue, LARGE)
    assert status == 200
    assert len(await place.bucket.stored()) == 2
    body = json.dumps({"image": {"$file": file["id"]}})
    for _ in range(2):
        status, _, _ = await place.ask("POST", "/v1/services/svc/jobs", body)
        assert status == 202
    assert len(await place.bucket.stored()) == 2, "no content was copied"
    await place.ask("DELETE", f"/v1/files/{file['id']}")
    assert len(await place.bucket.stored()) == 2, "the jobs still need it"
    assert (await place.ask("GET", place.queue, params=TAKE))[1] == LARGE
    for left in (1, 0):
        status, taken, _ = await place.ask("GET", place.queue, params=TAKE)
        assert b'"payload_' in taken

        async def is_as_expected(left: int = left) -> bool:
            return len(await place.bucket.stored()) == left

        await wait_until(is_as_expected, f"{left} contents are left")


async def test_a_storage_that_fails_is_503_and_nothing_is_stored(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    file = await place.upload(b"small")
    place.bucket.fail("500", 10_000)
    answers = [
        await place.ask("POST", "/v1/files", LARGE),
        await place.ask("GET", f"/v1/files/{file['id']}/content"),
    ]
    for status, body, _ in answers:
        assert status == 503
        assert json.loads(body)["error"]["code"] == "FILES_UNAVAILABLE"
        assert b"try again" in body
    put = await place.ask("POST", place.queue, LARGE)
    assert put[0] == 503
    place.bucket.faults.clear()
    assert (await place.ask("GET", place.queue))[0] == 204
    assert len(await place.bucket.stored()) == 1
    assert "test-secret" not in caplog.text
    assert (await place.ask("GET", f"/v1/files/{file['id']}/content"))[1] == b"small"


async def test_a_full_storage_is_507(place: Place) -> None:
    place.bucket.fail("full", 10_000, method="PUT")
    status, body, _ = await place.ask("POST", "/v1/files", b"small")
    assert (status, json.loads(body)["error"]["code"]) == (507, "FILES_FULL")


async def test_the_limit_of_all_files_counts_what_is_in_s3(serve: Serve, bucket: Bucket) -> None:
    url = await serve({"name": "svc"}, files_total_mb=2, **bucket.settings)
    async with aiohttp.ClientSession(headers={"Authorization": TOKEN}) as session:
        place = Place(session, url, bucket)
        file = await place.upload(b"x" * 2**20)
        status, body, _ = await place.ask("POST", "/v1/files", b"x" * 2**20)
        assert (status, json.loads(body)["error"]["code"]) == (507, "FILES_FULL")
        await place.ask("DELETE", f"/v1/files/{file['id']}")
    assert await bucket.stored() == []


async def test_a_service_that_is_killed_during_an_upload_leaves_what_the_sweep_removes(
    start_service: StartService, bucket: Bucket
) -> None:
    service = await start_service({"name": "svc"}, **bucket.settings)

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield LARGE

            async def has_begun() -> bool:
                return await bucket.unfinished() != []

            await wait_until(has_begun, "the upload has begun")
            service.kill_all()

    async with aiohttp.ClientSession(headers={"Authorization": TOKEN}) as session:
        with pytest.raises(aiohttp.ClientError):
            await session.post(f"{service.url}/v1/files", data=endless())
        again = await start_service({"name": "svc"}, **bucket.settings)
        async with session.get(f"{again.url}/v1/files") as answer:
            assert (await answer.json())["data"] == []
    assert await bucket.stored() == []
    left = S3Contents(
        S3Address(bucket.name, "in/here", endpoint=bucket.url, keys=Keys("any", "key")),
        most_bytes=2**30,
    )
    # To moto every upload began in 2010, so the new service may have removed it already.
    await left.remove_stalled(older_than_s=-1)
    assert await bucket.unfinished() == []
