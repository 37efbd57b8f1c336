"""Clients that speak HTTP in other ways than ours: half-closed, old, and with every method."""

import asyncio
import json
import re

import aiohttp
import pytest
from yarl import URL

from client_sdk import AsyncQueueClient
from client_sdk.wire import names
from queue_service.web.routes import TABLE
from tests.conftest import Serve, StartService, StartWorker
from tests.queue_service.web.test_every_route import _path
from tests.running import ADMIN_TOKEN, TOKEN, QueueServiceProcess
from tests.waiting import wait_until

QUEUE = "/api/predict/svc"
JOBS = "/v1/services/svc/jobs"
UPLOADS = "/v1/files/uploads"
PATIENCE_S = 40.0


class Half:
    """A connection that writes a request and then says that nothing more will come."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def ask(cls, url: str, *requests: bytes) -> "Half":
        address = URL(url)
        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(b"".join(requests))
        writer.write_eof()
        return cls(reader, writer)

    async def rest(self) -> bytes:
        """Return all that comes; the other side ends the connection."""
        async with asyncio.timeout(PATIENCE_S):
            text = await self.reader.read()
        self.writer.close()
        return text


def request(method: str, path: str, body: bytes = b"", *, version: str = "1.1") -> bytes:
    head = f"{method} {path} HTTP/{version}\r\nHost: localhost\r\nAuthorization: {TOKEN}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.mark.leaves_entries
async def test_a_half_closed_client_gets_its_answer(service: QueueServiceProcess) -> None:
    put = await (await Half.ask(service.url, request("POST", QUEUE, b"hello"))).rest()
    assert put.startswith(b"HTTP/1.1 200 "), put
    job = await (await Half.ask(service.url, request("POST", JOBS, b"x"))).rest()
    assert job.startswith(b"HTTP/1.1 202 "), job
    several = await Half.ask(service.url, *(request("POST", QUEUE, b"n") for _ in range(3)))
    assert (await several.rest()).count(b"HTTP/1.1 200 ") == 3
    gone = await (await Half.ask(service.url, request("GET", "/nope"))).rest()
    assert gone.startswith(b"HTTP/1.1 404 ")


async def test_a_half_closed_client_that_waits_gets_what_there_is(
    service: QueueServiceProcess,
) -> None:
    poll = await Half.ask(service.url, request("GET", f"{QUEUE}/sink?_timeout_=100s"))
    assert (await poll.rest()).startswith(b"HTTP/1.1 204 ")
    path = f"{JOBS}/waited"
    head = request("PUT", path, b"x").replace(b"\r\n\r\n", b"\r\nPrefer: wait=100\r\n\r\n")
    job = await Half.ask(service.url, head)
    assert (await job.rest()).startswith(b"HTTP/1.1 202 ")
    events = await (await Half.ask(service.url, request("GET", f"{path}/events"))).rest()
    assert events.endswith(b"\r\n0\r\n\r\n"), "the stream ends in order"
    async with AsyncQueueClient(service.url, "svc", token=TOKEN) as client:
        await client.jobs.cancel("waited")
        await client.jobs.delete("waited")


async def test_a_half_closed_client_takes_a_result_and_one_that_left_loses_none(
    service: QueueServiceProcess,
) -> None:
    async with AsyncQueueClient(service.url, "svc", token=TOKEN) as client:
        await client.sink.put(b"a result")
        take = request("GET", f"{QUEUE}/sink?_auto_delete_=true")
        for _ in range(20):
            left = await Half.ask(service.url, take)
            left.writer.close()

        async def is_there() -> bool:
            return (await client.sink.attributes())["stream.length"] == "1"

        await wait_until(is_there, "the result is there")
        got = b""

        async def is_taken() -> bool:
            nonlocal got
            got = await (await Half.ask(service.url, take)).rest()
            return got.startswith(b"HTTP/1.1 200 ")

        await wait_until(is_taken, "those that left have given it back")
        assert got.endswith(b"a result")
        assert (await client.sink.attributes())["stream.length"] == "0"


async def test_streams_to_http_1_0_end_with_the_connection(
    service: QueueServiceProcess, start_worker: StartWorker
) -> None:
    await start_worker(service.url)
    async with AsyncQueueClient(service.url, "svc", token=TOKEN) as client:
        job = await client.jobs.submit(b"x")
        address = URL(service.url)
        reader, writer = await asyncio.open_connection(address.host, address.port)
        asked = request("GET", f"{JOBS}/{job.id}/events", version="1.0").replace(
            b"\r\n\r\n", b"\r\nConnection: keep-alive\r\n\r\n"
        )
        writer.write(asked)
        async with asyncio.timeout(PATIENCE_S):
            answer = await reader.read()
        writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        assert b" 200 " in head
        assert b"chunked" not in head
        assert body.rstrip().endswith(b"}")
        await client.jobs.result(job.id, timeout_s=20)
        await client.jobs.delete(job.id)


async def test_every_path_says_which_methods_it_has(serve: Serve) -> None:
    url = await serve()
    served: dict[str, set[str]] = {}
    for route in TABLE:
        served.setdefault(_path(route.documented_path), set()).add(route.method)
    # Its last part may be an id as well.
    dead_letters = "/v1/services/svc/dead-letters"
    served[f"{dead_letters}/replay"] |= served[f"{dead_letters}/999"]
    (file,) = [path for path in served if re.fullmatch("/v1/files/[^/]+", path) and path != UPLOADS]
    served[UPLOADS] |= served[file]
    served[QUEUE] = {"GET", "POST", "PUT", "DELETE"}
    served[f"{QUEUE}/sink"] = served[QUEUE]
    async with aiohttp.ClientSession(headers={"Authorization": TOKEN}) as session:
        for path, methods in served.items():
            known = methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())
            async with session.options(url + path) as answer:
                assert answer.status == 204, path
                assert set(answer.headers["Allow"].split(", ")) == known, path
            for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE"} - known:
                async with session.request(method, url + path) as answer:
                    assert answer.status == 405, (method, path)
                    assert set(answer.headers["Allow"].split(", ")) == known, path
        async with session.options(f"{url}/nope") as answer:
            assert answer.status == 404


@pytest.mark.leaves_entries
async def test_head_is_answered_like_get_and_takes_nothing(serve: Serve) -> None:
    url = await serve()
    async with aiohttp.ClientSession(headers={"Authorization": TOKEN}) as session:
        async with session.post(f"{url}{QUEUE}/sink", data=b"kept") as answer:
            assert answer.status == 200
        async with session.put(f"{url}{JOBS}/one", data=b"x") as answer:
            assert answer.status == 202
        paths = [
            *("/healthz", "/chat", "/openapi.json", "/v1/models", "/v1/models/svc", JOBS),
            *(f"{JOBS}/one", f"{JOBS}/one/result", f"{JOBS}/one/events", f"{JOBS}/none"),
            *(f"{QUEUE}/sink?_timeout_=60s", f"{QUEUE}?_attrs_=true", "/v1/services"),
        ]
        for path in paths:
            async with session.head(url + path) as answer:
                assert await answer.read() == b""
                head = answer
            async with session.get(
                url + path.replace("?_timeout_=60s", "?_auto_delete_=false")
            ) as answer:
                assert (head.status, head.content_type) == (answer.status, answer.content_type)
        async with session.head(f"{url}{QUEUE}/sink?_watch_=true") as answer:
            assert answer.status == 405
        async with session.get(f"{url}{QUEUE}/sink?_attrs_=true") as answer:
            assert (await answer.json())["stream.length"] == "1"


@pytest.mark.leaves_entries
@pytest.mark.parametrize("path", [QUEUE, JOBS])
async def test_a_quoted_idempotency_key_is_the_bare_one(serve: Serve, path: str) -> None:
    url = await serve()

    async def put(key: str) -> tuple[int, str]:
        headers = {"Authorization": TOKEN, names.IDEMPOTENCY_HEADER: key}
        async with (
            aiohttp.ClientSession() as session,
            session.post(url + path, data=b"x", headers=headers) as answer,
        ):
            body = await answer.read()
            return answer.status, answer.headers.get(names.REQUEST_ID_HEADER, body.decode())

    bare, quoted = await put("abc"), await put('"abc"')
    assert bare[0] in (200, 202)
    assert bare[1] == quoted[1]
    assert (await put('"a\\"b\\\\c"'))[1] == (await put('a"b\\c'))[1] != bare[1]
    for wrong in ('"abc', '"a\\b"', '"abc"d', '"'):
        status, said = await put(wrong)
        assert status == 400, wrong
        assert "a string such as" in said


@pytest.mark.leaves_entries
async def test_it_listens_on_ipv6_and_its_addresses_have_brackets(
    start_service: StartService, start_worker: StartWorker
) -> None:
    service = await start_service(host="::")
    url = f"http://[::1]:{service.port}"
    assert re.search(rf"Listening on http://\[::\]:{service.port}\b", service.log)
    await start_worker(f"{url},{service.url}")
    async with AsyncQueueClient(url, "svc", token=TOKEN) as client:
        job = await client.jobs.submit(b"hello")
        assert await client.jobs.result(job.id, timeout_s=20) is not None
    async with aiohttp.ClientSession(headers={"Authorization": ADMIN_TOKEN}) as session:
        async with session.get(f"{url}/openapi.json") as answer:
            assert (await answer.json())["servers"] == [{"url": url}]
        async with session.get(f"{url}/v1/services") as answer:
            assert json.loads(await answer.text())["services"]
