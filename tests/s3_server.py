"""S3-compatible storage for tests: moto's server in a process, and a proxy before it that fails.

botocore, which moto needs, requires an older python-dateutil than constraints.txt has, so moto is
in a separate environment: `make s3-server`.  Tests that need it skip without it.
"""

import asyncio
import io
import os
import shutil
import sys
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from tests.running import ServerProcess, free_port
from tests.waiting import let_pass

#: What any client may use: moto looks at no signature.
KEYS = {"files_access_key": "test-access", "files_secret_key": "test-secret-of-s3"}
#: How late a late answer is, in seconds, and the pieces of a slow one, which takes as long.
LATE_S, SLOW_PIECES = 0.1, 10
#: How the storage answers when something is wrong with it.
ANSWERS = {"500": (500, "InternalError"), "full": (507, "XMinioStorageFull")}


class MotoServer(ServerProcess):
    """moto's server."""

    def __init__(self, program: str, *, log_path: Path) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        super().__init__([], env={}, log_path=log_path, ready_url=f"{self.url}/moto-api/data.json")
        # Its own interpreter, behind the leash of this one.
        self.argv = [*self.argv[:-1], program, "-H", "127.0.0.1", "-p", str(port)]


@contextmanager
def moto_server(log_path: Path) -> Iterator[str]:
    """Run moto's server, and give its address; skip where it is not installed."""
    path = f"{sys.prefix}/moto/bin:{os.environ['PATH']}"
    program = shutil.which("moto_server", path=path)
    if program is None:
        pytest.skip("moto's server is not installed: make s3-server")
    server = MotoServer(program, log_path=log_path)
    server.start_blocking()
    try:
        yield server.url
    finally:
        server.kill_all()


@dataclass
class Fault:
    """What happens to the next requests that match.

    kind: "500", "full", "cut" (the connection ends before the storage has the request), "lost" (it
    ends after that), "part" (in the middle of the answer), "late" (after a moment), "slow" (in
    small pieces) or "silent" (no answer until the end).
    """

    kind: str
    times: int = 1
    matches: Callable[[web.Request], bool] = lambda request: True


@dataclass
class Bucket:
    """One bucket, through the proxy.  requests: "METHOD path" of all that have come."""

    url: str
    name: str
    storage_url: str
    faults: list[Fault] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    end: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of a queue service whose files are here."""
        return {"files_url": f"s3://{self.name}/in/here", "files_endpoint": self.url, **KEYS}

    def fail(self, kind: str, times: int = 1, *, method: str = "", path: str = "") -> None:
        """Let the next requests of this kind fail."""

        def matches(request: web.Request) -> bool:
            return request.method == (method or request.method) and path in request.path_qs

        self.faults.append(Fault(kind, times, matches))

    async def stored(self) -> list[str]:
        """Return the names of all objects."""
        return await self._listed("list-type=2", "Contents")

    async def unfinished(self) -> list[str]:
        """Return the names of the objects of unfinished uploads."""
        return await self._listed("uploads", "Upload")

    async def _listed(self, query: str, kind: str) -> list[str]:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.storage_url}/{self.name}?{query}") as answer,
        ):
            found = ElementTree.fromstring(await answer.read())
        space = found.tag.partition("}")[0] + "}"
        return sorted(str(one.findtext(f"{space}Key")) for one in found.iter(f"{space}{kind}"))


@asynccontextmanager
async def bucket_at(storage_url: str, name: str) -> AsyncIterator[Bucket]:
    """Make a bucket, and run the proxy before it."""
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        async with session.put(f"{storage_url}/{name}", data=b"") as answer:
            assert answer.status == 200, await answer.text()
        bucket = Bucket("", name, storage_url)

        async def handle(request: web.Request) -> web.StreamResponse:
            return await _handle(request, bucket, session)

        app = web.Application(client_max_size=2**31)
        app.router.add_route("*", "/{rest:.*}", handle)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            host, port = runner.addresses[0][:2]
            bucket.url = f"http://{host}:{port}"
            yield bucket
        finally:
            bucket.end.set()
            await runner.cleanup()


async def _handle(
    request: web.Request, bucket: Bucket, session: aiohttp.ClientSession
) -> web.StreamResponse:
    bucket.requests.append(f"{request.method} {request.path_qs}")
    fault = next((one for one in bucket.faults if one.times and one.matches(request)), None)
    kind = ""
    if fault is not None:
        fault.times -= 1
        kind = fault.kind
    body = await request.read()
    if kind in ANSWERS:
        status, code = ANSWERS[kind]
        return web.Response(status=status, text=f"<Error><Code>{code}</Code></Error>")
    if kind == "silent":
        await bucket.end.wait()
    if kind == "late":
        await let_pass(LATE_S)
    if kind in ("cut", "silent"):
        return _end(request)
    response, data = await _ask_storage(request, body, bucket, session)
    if kind == "lost":
        return _end(request)
    await response.prepare(request)
    if kind == "slow":
        step = len(data) // SLOW_PIECES + 1
        for start in range(0, len(data), step):
            await response.write(data[start : start + step])
            await let_pass(LATE_S / SLOW_PIECES)
    else:
        await response.write(data[: len(data) // 2] if kind == "part" else data)
    if kind == "part":
        return _end(request)
    await response.write_eof()
    return response


async def _ask_storage(
    request: web.Request, body: bytes, bucket: Bucket, session: aiohttp.ClientSession
) -> tuple[web.StreamResponse, bytes]:
    headers = {name: text for name, text in request.headers.items() if name != "Host"}
    target = URL(f"{bucket.storage_url}{request.raw_path}", encoded=True)
    async with session.request(
        request.method, target, headers=headers, data=io.BytesIO(body)
    ) as answer:
        data = await answer.read()
    kept = {
        name: text
        for name, text in answer.headers.items()
        if name not in ("Transfer-Encoding", "Connection", "Server", "Date")
    }
    response = web.StreamResponse(status=answer.status, headers=kept)
    if request.method != "HEAD":
        response.content_length = len(data)
    return response, data


def _end(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    raise ConnectionResetError


@pytest.fixture(scope="session")
def storage_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run S3-compatible storage."""
    with moto_server(tmp_path_factory.mktemp("s3") / "log") as url:
        yield url


@pytest.fixture
async def bucket(storage_url: str) -> AsyncIterator[Bucket]:
    """A bucket of the test's own, before which a proxy can fail."""
    async with bucket_at(storage_url, f"bucket-{uuid.uuid4().hex}") as bucket:
        yield bucket
