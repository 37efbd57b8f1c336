"""Contents in S3: whole or not there, also when the storage fails in the middle."""

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from queue_service.settings.files_url import BadFilesUrl, FilesUrl, read_files_url
from queue_service.store import s3_contents
from queue_service.store.s3_contents import S3Address, S3Contents
from queue_service.store.s3_errors import FilesUnavailable
from queue_service.store.s3_signing import Keys, presigned, signed
from queue_service.store.s3_uploads import UnfinishedUploads
from tests.s3_server import Bucket

#: Two parts and a rest.
LARGE = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(600_000))


@pytest.fixture
def contents(bucket: Bucket) -> S3Contents:
    return contents_of(bucket)


def contents_of(bucket: Bucket) -> S3Contents:
    address = S3Address(
        bucket.name, "in/here", endpoint=bucket.url, keys=Keys("test-access", "test-secret")
    )
    return S3Contents(address, most_bytes=2**30)


async def write(contents: S3Contents, file_id: str, data: bytes) -> str:
    async with contents.writer(file_id) as writer:
        for start in range(0, len(data), 300_000):
            await writer.write(data[start : start + 300_000])
        return (await writer.finish()).sha256


async def read(contents: S3Contents, file_id: str, start: int, stop: int) -> bytes:
    return b"".join([piece async for piece in contents.read(file_id, start, stop)])


async def ids(contents: S3Contents) -> list[str]:
    return [one async for some in contents.ids(older_than_s=-3600) for one in some]


@pytest.mark.parametrize("data", [b"", b"small", LARGE], ids=["empty", "small", "large"])
async def test_a_content_is_read_as_it_was_written(contents: S3Contents, data: bytes) -> None:
    assert await write(contents, "file_one", data) == hashlib.sha256(data).hexdigest()
    assert await contents.size_bytes("file_one") == len(data)
    assert await read(contents, "file_one", 0, len(data)) == data
    assert await read(contents, "file_one", max(0, len(data) - 3), len(data)) == data[-3:]
    assert await ids(contents) == ["file_one"]
    await contents.remove("file_one")
    await contents.remove("file_one")
    assert await contents.size_bytes("file_one") is None
    with pytest.raises(FileNotFoundError):
        await read(contents, "file_one", 0, 1)


async def test_an_upload_that_breaks_off_leaves_nothing(
    contents: S3Contents, bucket: Bucket
) -> None:
    async def upload() -> None:
        async with contents.writer("file_one") as writer:
            await writer.write(LARGE)
            raise RuntimeError("the client has gone")

    with pytest.raises(RuntimeError, match="gone"):
        await upload()
    assert await bucket.stored() == []
    assert await bucket.unfinished() == []


async def test_an_upload_that_is_canceled_leaves_nothing(
    contents: S3Contents, bucket: Bucket
) -> None:
    begun = asyncio.Event()

    async def upload() -> None:
        async with contents.writer("file_one") as writer:
            await writer.write(LARGE)
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(upload())
    await begun.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await bucket.stored() == []
    assert await bucket.unfinished() == []


@pytest.mark.parametrize("kind", ["500", "cut", "lost"])
async def test_some_failures_are_repeated(contents: S3Contents, bucket: Bucket, kind: str) -> None:
    for method in ("POST", "PUT", "GET", "HEAD", "DELETE"):
        bucket.fail(kind, method=method)
    digest = await write(contents, "file_one", LARGE)
    assert await read(contents, "file_one", 0, len(LARGE)) == LARGE
    assert digest == hashlib.sha256(LARGE).hexdigest()
    await contents.remove("file_one")
    assert await bucket.stored() == []


async def test_an_answer_that_is_cut_off_goes_on_where_it_ended(
    contents: S3Contents, bucket: Bucket
) -> None:
    await write(contents, "file_one", LARGE)
    bucket.fail("part", 2, method="GET")
    assert await read(contents, "file_one", 5, len(LARGE)) == LARGE[5:]


@pytest.mark.parametrize("kind", ["500", "cut", "silent"])
async def test_a_storage_that_fails_for_long_is_named_and_nothing_is_there(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(s3_contents, "RETRIES", 1)
    monkeypatch.setattr(s3_contents, "SILENCE_S", timedelta(seconds=0.5))
    contents = contents_of(bucket)
    for method in ("PUT", "GET", "HEAD", "DELETE"):
        bucket.fail(kind, 10_000, method=method)
    with pytest.raises(FilesUnavailable, match="could not"):
        await write(contents, "file_one", LARGE)
    with pytest.raises(FilesUnavailable, match="could not"):
        await write(contents, "file_two", b"small")
    with pytest.raises(FilesUnavailable, match="could not read"):
        await read(contents, "file_one", 0, 5)
    with pytest.raises(FilesUnavailable, match="could not remove"):
        await contents.remove("file_one")
    bucket.faults.clear()
    assert await bucket.stored() == []
    await contents.remove_stalled(older_than_s=-1)
    assert await bucket.unfinished() == []


async def test_a_lost_answer_to_the_last_request_leaves_nothing(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_contents, "RETRIES", 0)
    bucket.fail("lost", method="PUT")
    with pytest.raises(FilesUnavailable):
        await write(contents_of(bucket), "file_one", b"small")
    assert await bucket.stored() == []


async def test_a_full_storage_is_a_full_disk(contents: S3Contents, bucket: Bucket) -> None:
    bucket.fail("full", 100, method="PUT")
    with pytest.raises(OSError, match="full") as caught:
        await write(contents, "file_one", b"small")
    assert not isinstance(caught.value, FileNotFoundError)


async def test_what_a_killed_process_leaves_of_an_upload_is_ended(
    contents: S3Contents, bucket: Bucket
) -> None:
    # Its process is killed now.
    left = contents.open("file_left")
    for start in range(0, len(LARGE), 2**20):
        await left.write(LARGE[start : start + 2**20])
    del left
    assert await bucket.unfinished() == ["in/here/complete/file_left"]
    assert await contents.remove_stalled(older_than_s=3600) == 0, "it may be under way"
    assert await contents.remove_stalled(older_than_s=-1) == 1
    assert await bucket.unfinished() == []


async def test_a_long_list_of_unfinished_uploads_is_read_to_its_end() -> None:
    fields = {"Key": f"complete/{'k' * 900}", "UploadId": "1"}
    fields["Initiated"] = datetime.now(UTC).isoformat()
    one = "".join(f"<{name}>{value}</{name}>" for name, value in fields.items())
    text = f"<Result>{f'<Upload>{one}</Upload>' * 1000}</Result>"

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text=text, content_type="application/xml")

    app = web.Application()
    app.router.add_get("/bucket", answer)
    async with TestServer(app) as server:
        url = str(server.make_url("/bucket"))
        uploads = UnfinishedUploads(url, "complete/", "us-east-1", Keys("access", "secret"))
        assert await uploads.remove(older_than_s=3600) == 0


async def test_no_error_and_no_description_has_the_secret(
    contents: S3Contents, bucket: Bucket, caplog: pytest.LogCaptureFixture
) -> None:
    bucket.fail("500", 100)
    with pytest.raises(FilesUnavailable) as caught:
        await contents.remove("file_one")
    address = S3Address("bucket", keys=Keys("access", "test-secret", "test-session"))
    for text in (caplog.text, str(caught.value), repr(address), repr(address.keys)):
        assert "test-se" not in text


def test_a_request_is_signed_as_amazon_describes() -> None:
    """The example of AWS's documentation, "GET Bucket (List Objects)"."""
    headers = signed(
        "GET",
        "https://examplebucket.s3.amazonaws.com/",
        {"max-keys": "2", "prefix": "J"},
        keys=Keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        region="us-east-1",
        now=datetime(2013, 5, 24, tzinfo=UTC),
    )
    assert headers["Authorization"].endswith(
        "Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"
    )


def test_an_address_is_signed_as_amazon_describes() -> None:
    """The example of AWS's documentation, "Authenticating Requests: Using Query Parameters"."""
    url = presigned(
        "GET",
        "https://examplebucket.s3.amazonaws.com/test.txt",
        {},
        keys=Keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        region="us-east-1",
        now=datetime(2013, 5, 24, tzinfo=UTC),
        valid_s=86400,
    )
    assert url.endswith(
        "Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    )


def test_the_url_is_a_bucket_and_a_prefix() -> None:
    assert read_files_url("s3://bucket") == FilesUrl("bucket")
    assert read_files_url("S3://my.bucket/one/two/") == FilesUrl("my.bucket", "one/two")


@pytest.mark.parametrize(
    "url",
    ["bucket", "gs://bucket", "s3://", "s3://b", "s3://key:secret@bucket", "s3://bucket/a//b",
     "s3://bucket/../b", "s3://bucket/a b"],
)  # fmt: skip
def test_another_url_is_refused(url: str) -> None:
    with pytest.raises(BadFilesUrl, match="expected") as caught:
        read_files_url(url)
    assert "secret" not in str(caught.value).replace("files_secret_key", "")
