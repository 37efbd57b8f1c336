"""Bytes that a process holds of requests: bounded for all together and for each token."""

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator

import aiohttp
import pytest

from client_sdk.wire import names, worker
from client_sdk.wire.codes import Code
from queue_service.errors import BuffersFull, TooMuchAtOnce
from queue_service.web.budget import Budget
from queue_service.web.jobs.lines import LineCutter, TooLong
from tests.attacks.strangers import dial, metric, puts_and_gets, rest_of, rss_kb
from tests.attacks.websocket import BINARY, BareWebSocket
from tests.conftest import StartService
from tests.running import ADMIN_TOKEN, TOKEN, QueueServiceProcess
from tests.waiting import wait_until

MIB = 1024 * 1024
JOBS = "/v1/services/svc/jobs"
QUEUE = f"{names.EAS_PREFIX}/svc"
NDJSON = {"Content-Type": "application/x-ndjson"}
#: MiB that twelve bombs may cost together; they unpack to 768.
MOST_MIB = 100


def test_one_alone_gets_half_and_there_is_always_room_for_another() -> None:
    budget = Budget(1000)
    first, second, third = (budget.hold(name) for name in ("a", "b", "c"))
    first.set(400)
    more = budget.hold("a")
    with pytest.raises(TooMuchAtOnce):
        more.set(101)
    more.set(100)
    second.set(250)
    with pytest.raises((TooMuchAtOnce, BuffersFull)):
        second.set(251)
    third.set(125)
    for held in (first, second, third, more):
        held.release()
    assert budget.used_bytes == 0


def test_a_body_that_is_the_only_one_may_be_larger_than_all_that_is_shared() -> None:
    budget = Budget(1000)
    large, small = budget.hold("a"), budget.hold("b")
    large.set(600)
    large.set(5000)
    with pytest.raises(BuffersFull):
        small.set(10)
    large.release()
    small.set(10)


def test_a_token_without_anything_is_refused_because_of_the_others() -> None:
    budget = Budget(1000)
    for name in "abcdefgh":
        budget.hold(name).set(100)
    with pytest.raises(BuffersFull):
        budget.hold("i").set(150)


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_lines_are_the_same_however_they_arrive(size: int) -> None:
    text = b"one\n\n  \ntwo two\nfar too long a line\nlast"
    cutter = LineCutter(8)
    lines: list[bytes | TooLong] = []
    for start in range(0, len(text), size):
        lines += cutter.cut(text[start : start + size])
        assert cutter.kept_bytes <= 8
    assert lines + cutter.last() == [b"one", b"two two", TooLong(19), b"last"]


@pytest.fixture
async def operator() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(headers={"Authorization": ADMIN_TOKEN}) as session:
        yield session


async def _token(operator: aiohttp.ClientSession, service: QueueServiceProcess) -> str:
    wish = {"scopes": ["submit", "read", "work", "cancel"]}
    async with operator.post(f"{service.url}/v1/tokens", json=wish) as answer:
        return str((await answer.json())["token"])


@pytest.mark.parametrize(
    "unpacked",
    [
        pytest.param(b"x" * 64 * MIB, id="one line"),
        pytest.param(b"\n" * 64 * MIB, id="empty lines"),
        pytest.param((b'{"input_base64": "%s"}\n' % (b"A" * 60_000)) * 1000, id="large lines"),
    ],
)
async def test_twelve_batches_that_unpack_to_giants_cost_next_to_nothing(
    start_service: StartService, unpacked: bytes
) -> None:
    service = await start_service()
    assert await puts_and_gets(service)
    before_kb = rss_kb(service)
    packed, highest_kb = gzip.compress(unpacked, 6), before_kb
    headers = {"Authorization": TOKEN, "Content-Encoding": "gzip", **NDJSON}

    async def bomb(session: aiohttp.ClientSession) -> int:
        async with session.post(f"{service.url}{JOBS}", data=packed, headers=headers) as answer:
            await answer.read()
            return answer.status

    async with aiohttp.ClientSession() as session:
        bombs = asyncio.gather(*(bomb(session) for _ in range(12)))

        def all_are_answered() -> bool:
            nonlocal highest_kb
            highest_kb = max(highest_kb, rss_kb(service))
            return bombs.done()

        await wait_until(all_are_answered, "all are answered", 60)
        assert set(bombs.result()) <= {200, 400, 413, 429}
    assert (highest_kb - before_kb) / 1024 < MOST_MIB
    assert await puts_and_gets(service)


async def test_slow_uploads_of_one_token_take_its_share_and_not_that_of_others(
    start_service: StartService, operator: aiohttp.ClientSession
) -> None:
    service = await start_service(
        {"name": "svc", "input": {"max_payload_size_kb": 2048}},
        max_buffered_bytes=4 * MIB,
        body_timeout_s=20,
    )
    greedy, modest = await _token(operator, service), await _token(operator, service)
    head = (
        f"POST {JOBS} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {greedy}\r\n"
        f"Content-Length: {MIB}\r\n\r\n"
    ).encode()
    socks = [dial(service) for _ in range(2)]
    for sock in socks:
        await asyncio.to_thread(sock.sendall, head + bytes(MIB - 10))

    async def is_read() -> bool:
        return await metric(service, "penstock_request_bytes") == 2 * (MIB - 10)

    await wait_until(is_read, "what was sent is held")

    async def put(path: str, token: str) -> tuple[int, str | None, str]:
        body, headers = bytes(MIB), {"Authorization": token}
        async with operator.post(service.url + path, data=body, headers=headers) as answer:
            word = answer.headers[names.ERROR_CODE_HEADER] if answer.status >= 400 else ""
            return answer.status, answer.headers.get("Retry-After"), word

    assert await put(JOBS, greedy) == (429, "1", Code.QUOTA_EXCEEDED)
    # EAS clients multiply a request that has Retry-After.
    assert await put(QUEUE, greedy) == (429, None, Code.QUOTA_EXCEEDED)
    status, *_ = await put(f"{JOBS}?start_by=1h", modest)
    assert status == 202
    for sock in socks:
        await asyncio.to_thread(sock.sendall, b"x" * 10)
        assert (await asyncio.to_thread(sock.recv, 100)).startswith(b"HTTP/1.1 202 ")
        sock.close()

    async def has_room() -> bool:
        return (await put(JOBS, greedy))[0] == 202

    await wait_until(has_room, "what was held is free again")
    everything = {names.TRUNCATE: "true", names.INDEX: str(2**62)}
    async with operator.delete(
        service.url + QUEUE, params=everything, headers={"Authorization": TOKEN}
    ) as answer:
        assert answer.status == 200


async def test_a_slow_upload_gives_its_share_back_when_its_time_is_over(
    start_service: StartService,
) -> None:
    service = await start_service(
        {"name": "svc", "input": {"max_payload_size_kb": 1024}},
        max_buffered_bytes=MIB,
        body_timeout_s=1,
    )
    head = (
        f"POST {JOBS} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {TOKEN}\r\n"
        f"Content-Length: {MIB}\r\n\r\n"
    ).encode()
    with dial(service) as sock:
        sock.sendall(head + bytes(MIB - 1))
        answer = await asyncio.to_thread(rest_of, sock)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert await puts_and_gets(service)


async def test_a_message_of_a_worker_that_does_not_end_is_closed_with_1013(
    start_service: StartService,
) -> None:
    service = await start_service(max_buffered_bytes=MIB, body_timeout_s=1)
    work = names.WORK_PATH.format(service="svc")
    slow = BareWebSocket(service, work)
    slow.send(BINARY, worker.encode_from_worker(worker.Hello(uid="slow", window=1)))
    slow.send(BINARY, bytes(MIB), last=False)
    assert await asyncio.to_thread(slow.close_code) == 1013
    slow.sock.close()


async def test_a_large_message_of_a_worker_waits_for_room(start_service: StartService) -> None:
    service = await start_service(max_buffered_bytes=MIB, body_timeout_s=20)
    work = names.WORK_PATH.format(service="svc")
    first, second = (BareWebSocket(service, work) for _ in range(2))
    for number, attack in enumerate((first, second)):
        hello = worker.Hello(uid=f"w{number}", window=1)
        attack.send(BINARY, worker.encode_from_worker(hello))
    first.send(BINARY, bytes(8 * MIB), last=False)
    await asyncio.to_thread(second.send, BINARY, bytes(MIB), last=False)
    assert await asyncio.to_thread(second.close_code) == 1013
    for attack in (first, second):
        attack.sock.close()


@pytest.mark.parametrize("encoding", ["gzip, gzip", "compress", "gzip,deflate", "\udcff"])
async def test_an_encoding_that_nobody_unpacks_is_refused(
    start_service: StartService, encoding: str
) -> None:
    service = await start_service()
    for path in (JOBS, QUEUE):
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {TOKEN}\r\n"
        head += f"Content-Encoding: {encoding}\r\nContent-Length: 5\r\nConnection: close\r\n\r\n"
        with dial(service) as sock:
            sock.sendall(head.encode("utf-8", "surrogateescape") + b"plain")
            answer = await asyncio.to_thread(rest_of, sock)
        assert answer.startswith((b"HTTP/1.1 415 ", b"HTTP/1.1 400 ")), answer


async def test_a_batch_with_too_many_lines_says_so_in_its_last_line(
    start_service: StartService,
) -> None:
    service = await start_service({"name": "svc", "input": {"max_length": 2}})
    headers = {"Authorization": TOKEN, **NDJSON}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{service.url}{JOBS}", data=b'{"input": 1, "x": 1}\n' * 10_001) as answer,
    ):
        outcomes = [json.loads(line) for line in (await answer.read()).splitlines()]
    assert len(outcomes) == 10_001
    assert {outcome["status"] for outcome in outcomes} == {400}
    assert "10000 lines" in outcomes[-1]["problem"]["detail"]


@pytest.mark.leaves_entries
async def test_each_line_of_a_batch_that_breaks_off_is_answered(
    start_service: StartService,
) -> None:
    service = await start_service({"name": "svc"})
    packer = zlib.compressobj(wbits=31)
    packed = packer.compress(b'{"input": 1}\n' * 300) + packer.flush(zlib.Z_SYNC_FLUSH)
    head = f"POST {JOBS} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {TOKEN}\r\n"
    head += f"Content-Type: {NDJSON['Content-Type']}\r\nContent-Encoding: gzip\r\n"
    head += f"Content-Length: {len(packed) + 5}\r\nConnection: close\r\n\r\n"
    async with aiohttp.ClientSession(headers={"Authorization": TOKEN}) as session:

        async def has_stored() -> bool:
            async with session.get(f"{service.url}{QUEUE}?{names.COUNT}=true") as answer:
                return int(await answer.read()) == 256

        with dial(service) as sock:
            sock.sendall(head.encode() + packed)
            await wait_until(has_stored, "the first step is stored")
            sock.sendall(b"plain")
            answer = await asyncio.to_thread(rest_of, sock)
    assert answer.startswith(b"HTTP/1.1 200 "), answer
    outcomes = [json.loads(line) for line in answer.partition(b"\r\n\r\n")[2].splitlines()]
    assert [outcome["line"] for outcome in outcomes] == list(range(1, 302))
    assert [outcome["status"] for outcome in outcomes] == [202] * 300 + [400]
