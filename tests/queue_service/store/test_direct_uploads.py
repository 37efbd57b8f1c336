"""What clients have sent to a storage: was it compared there, or must this process read it?"""

import base64
import hashlib

from aiohttp import web
from aiohttp.test_utils import TestServer

from queue_service.store.contents import Content
from queue_service.store.direct_uploads import DirectUploadsToS3
from queue_service.store.s3_contents import S3Address, S3Contents
from queue_service.store.s3_signing import Keys

DIGEST = hashlib.sha256(b"12345")
AT = "Mon, 01 Jan 2024 00:00:00 GMT"


class Storage:
    """A storage with one object, which knows its SHA-256.

    refuses: whether it compares.  says: the sum that it reports.
    """

    def __init__(self, *, refuses: bool, says: str) -> None:
        self._refuses = refuses
        self._says = says
        self.reads = self.tries = 0

    async def handle(self, request: web.Request) -> web.Response:
        sums = {"x-amz-checksum-sha256": self._says} if self._says else {}
        about = {"Last-Modified": AT, "ETag": '"one"', **sums}
        match request.method:
            case "PUT" if "x-amz-copy-source" in request.headers:
                text = f"<CopyObjectResult><ETag>one</ETag><LastModified>{AT}</LastModified>"
                return web.Response(text=f"{text}</CopyObjectResult>")
            case "PUT":
                self.tries += 1
                return web.Response(status=400 if self._refuses else 200, headers={"ETag": "x"})
            case "HEAD":
                return web.Response(headers=about, body=b"12345")
            case "GET":
                self.reads += 1
                begins = {"Content-Range": "bytes 0-4/5"} if "Range" in request.headers else {}
                status = 206 if begins else 200
                return web.Response(status=status, headers={**about, **begins}, body=b"12345")
        return web.Response(status=204)


async def completed(storage: Storage) -> None:
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", storage.handle)
    async with TestServer(app) as server:
        keys = Keys("access", "secret")
        address = S3Address("bucket", endpoint=str(server.make_url("")), keys=keys)
        contents = S3Contents(address, most_bytes=2**30)
        direct = DirectUploadsToS3(contents, address, keys)
        for _ in range(2):
            assert await direct.complete("file_one", 5) == Content(5, DIGEST.hexdigest())


async def test_what_the_storage_has_compared_is_not_read() -> None:
    storage = Storage(refuses=True, says=base64.b64encode(DIGEST.digest()).decode())
    await completed(storage)
    assert (storage.reads, storage.tries) == (0, 1)


async def test_what_the_storage_only_repeats_is_read() -> None:
    storage = Storage(refuses=False, says=base64.b64encode(b"x" * 32).decode())
    await completed(storage)
    assert (storage.reads, storage.tries) == (2, 1)


async def test_a_sum_of_parts_or_none_is_not_that_of_the_content() -> None:
    for says in ("", f"{base64.b64encode(DIGEST.digest()).decode()}-2"):
        storage = Storage(refuses=True, says=says)
        await completed(storage)
        assert storage.reads == 2
