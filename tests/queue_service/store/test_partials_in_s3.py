"""Contents that arrive in S3 in several requests: as few objects as there are bytes for."""

import hashlib

import pytest

from queue_service.store import partials_in_s3
from queue_service.store.partials_in_s3 import LEAST_OBJECT_BYTES, PartialsInS3
from tests.queue_service.store.test_s3_contents import contents_of
from tests.s3_server import Bucket


async def append(partials: PartialsInS3, data: bytes) -> int:
    async with partials.appending("file_one") as appending:
        await appending.write(data)
        return appending.size_bytes


async def test_small_pieces_become_one_object(bucket: Bucket) -> None:
    contents = contents_of(bucket)
    partials, sent = PartialsInS3(contents), b""
    await partials.create("file_one")
    for number in range(20):
        sent += b"%d" % (number % 10)
        assert await append(partials, sent[-1:]) == len(sent)
    assert len(await bucket.stored()) == 2, "one for the beginning, and one for all pieces"
    for size in (LEAST_OBJECT_BYTES, 1, 1):
        sent += b"x" * size
        assert await append(partials, sent[-size:]) == len(sent)
    assert len(await bucket.stored()) == 3
    async with partials.appending("file_one"):
        pass
    assert await partials.size_bytes("file_one") == len(sent)
    done = await partials.complete("file_one", len(sent))
    assert (done.size_bytes, done.sha256) == (len(sent), hashlib.sha256(sent).hexdigest())
    await partials.remove("file_one")
    assert len(await bucket.stored()) == 1
    await contents.remove("file_one")


async def test_what_is_sent_after_the_end_of_an_upload_goes_sooner(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = contents_of(bucket)
    partials = PartialsInS3(contents)
    for file_id in ("file_one", "file_two"):
        await partials.create(file_id)
        await contents.put(f"incoming/{file_id}/direct", b"x")
    await partials.remove("file_one")
    await contents.put("incoming/file_one/direct", b"x")
    assert await partials.remove_stalled(older_than_s=86_400) == 0
    # The storage tells times in whole seconds.
    monkeypatch.setattr(partials_in_s3, "ENDED_S", -2.0)
    assert await partials.remove_stalled(older_than_s=86_400) == 1
    assert await partials.size_bytes("file_two") == 0
    assert len(await bucket.stored()) == 2
    await partials.remove("file_two")
    assert await bucket.stored() == []
