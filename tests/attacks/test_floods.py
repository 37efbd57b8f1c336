"""Floods and bombs: ended at a limit, and the memory they cost is bounded."""

import asyncio
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest

from client_sdk.wire import names, worker
from client_sdk.wire.codes import Code
from client_sdk.wire.frame import decode
from tests.attacks.strangers import (
    PUT,
    dial,
    metric,
    puts_and_gets,
    rest_of,
    rss_kb,
    tiny_reader,
)
from tests.attacks.websocket import BINARY, CONTINUATION, BareWebSocket
from tests.conftest import StartService
from tests.running import ADMIN_TOKEN, TOKEN, QueueServiceProcess
from tests.waiting import hold_for, wait_until

MIB = 1024 * 1024

#: What an attack sends in vain: many times what it may cost.
FLOOD_BYTES = 256 * MIB

#: MiB that an attack may cost at most: the largest message of a worker, twice while it is joined,
#: and what the sockets hold.
MOST_MIB = 64

ADMIN = {"Authorization": ADMIN_TOKEN}
WORK = names.WORK_PATH.format(service="svc")
QUEUE = f"{names.EAS_PREFIX}/svc"
WATCH = f"{QUEUE}?{names.WATCH}=true"

#: What begins a put whose body tells its own length.
CHUNKED = PUT.partition(b"Content-Length")[0] + b"Transfer-Encoding: chunked\r\n"


@pytest.fixture
async def service(start_service: StartService) -> AsyncIterator[QueueServiceProcess]:
    """Run a service which an attack must leave as it was, and hardly larger."""
    service = await start_service({"name": "svc"}, body_timeout_s=2)
    assert await puts_and_gets(service)
    before_kb = rss_kb(service)
    yield service
    assert (rss_kb(service) - before_kb) / 1024 < MOST_MIB
    assert await puts_and_gets(service)
    assert "Traceback" not in service.log


@pytest.mark.parametrize("target", [WORK, WATCH], ids=["worker", "watch"])
async def test_a_message_without_end_is_closed_at_the_limit(
    service: QueueServiceProcess, target: str
) -> None:
    attack = BareWebSocket(service, target)

    def flood() -> int:
        opcode = BINARY
        for _ in range(FLOOD_BYTES // MIB):
            if not attack.send(opcode, b"x" * MIB, last=False):
                break
            opcode = CONTINUATION
        return attack.close_code()

    # When the close has overtaken nothing, the connection is reset with it on the way.
    assert await asyncio.to_thread(flood) in {1009, 0}
    attack.sock.close()


async def test_a_frame_that_announces_too_much_is_closed_with_1009(
    service: QueueServiceProcess,
) -> None:
    attack = BareWebSocket(service, WATCH)
    attack.send(BINARY, b"x" * 65537)
    assert await asyncio.to_thread(attack.close_code) == 1009
    attack.sock.close()


async def test_compression_is_not_spoken_and_a_compressed_message_ends_the_connection(
    service: QueueServiceProcess,
) -> None:
    attack = BareWebSocket(service, WORK, extensions="permessage-deflate")
    assert b"permessage-deflate" not in attack.answer
    attack.send(BINARY, zlib.compress(bytes(MIB)), reserved=0x40)
    assert await asyncio.to_thread(attack.close_code) == 1002
    attack.sock.close()


async def test_a_worker_that_answers_without_end_and_reads_nothing_waits_for_itself(
    service: QueueServiceProcess,
) -> None:
    attack = BareWebSocket(service, WORK)
    attack.send(BINARY, worker.encode_from_worker(worker.Hello(uid="w1", window=1)))
    done = [worker.Completion(10**6 + n, 1, worker.Result(b"x" * 4096)) for n in range(16)]
    message = worker.encode_from_worker(worker.Completions(tuple(done)))
    attack.sock.settimeout(0.5)

    def flood() -> None:
        try:
            for _ in range(FLOOD_BYTES // len(message) // 4):
                attack.sock.sendall(b"\x82\xff" + len(message).to_bytes(8) + bytes(4) + message)
        except TimeoutError:
            return

    flooding = asyncio.create_task(asyncio.to_thread(flood))
    while not flooding.done():
        assert await puts_and_gets(service)
    attack.sock.close()


async def test_pings_without_end_are_answered_without_a_heap_of_answers(
    service: QueueServiceProcess,
) -> None:
    attack = BareWebSocket(service, WATCH)
    pings = b"\x89\xfd" + bytes(4) + b"x" * 125
    attack.sock.settimeout(0.5)

    def flood() -> None:
        try:
            for _ in range(FLOOD_BYTES // 16 // MIB):
                attack.sock.sendall(pings * (MIB // len(pings)))
        except TimeoutError:
            return

    await asyncio.to_thread(flood)
    assert await puts_and_gets(service)
    attack.sock.close()


async def test_a_body_that_unpacks_to_a_giant_is_refused_while_it_unpacks(
    service: QueueServiceProcess,
) -> None:
    bomb = zlib.compressobj(wbits=31)
    packed = bomb.compress(bytes(FLOOD_BYTES)) + bomb.flush()
    head = CHUNKED + b"Content-Encoding: gzip\r\nConnection: close\r\n\r\n"
    with dial(service) as sock:
        sock.sendall(head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(packed), packed))
        answer = await asyncio.to_thread(rest_of, sock)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"FRAME_TOO_BIG" in answer


@pytest.mark.parametrize(
    "tail",
    [
        pytest.param(b"5;" + b"x" * MIB, id="a chunk's extension"),
        pytest.param(b"f" * MIB, id="a chunk's length"),
        pytest.param(b"5\r\nhello\r\n0\r\n" + b"a: b\r\n" * 200_000, id="trailers"),
    ],
)
async def test_what_surrounds_a_body_has_its_limit_too(
    service: QueueServiceProcess, tail: bytes
) -> None:
    def attack() -> bytes:
        with dial(service) as sock:
            try:
                sock.sendall(CHUNKED + b"\r\n" + tail)
            except ConnectionError:
                return b""
            return rest_of(sock)

    answer = await asyncio.to_thread(attack)
    assert not answer or answer.split()[1] in {b"400", b"408"}


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(
            PUT.replace(b"Host: localhost\r\n", b"Host: test\r\n" + b"a: b\r\n" * 100_000),
            id="headers",
        ),
        pytest.param(
            PUT.replace(
                b"/svc ", b"/svc?" + b"&".join(b"t%d=v" % n for n in range(100_000)) + b" "
            ),
            id="tags",
        ),
    ],
)
async def test_a_hundred_thousand_of_anything_in_a_head_are_refused(
    service: QueueServiceProcess, request_: bytes
) -> None:
    def attack() -> bytes:
        with dial(service) as sock:
            try:
                sock.sendall(request_)
            except ConnectionError:
                return b""
            return rest_of(sock)

    answer = await asyncio.to_thread(attack)
    assert not answer or answer.split()[1] in {b"400", b"414", b"431"}


@pytest.mark.parametrize(
    ("method", "query", "header"),
    [
        pytest.param("POST", f"?{names.REQUEST_ID_TAG}={'x' * 10_000}", "", id="request id"),
        pytest.param("PUT", f"?{names.INDEXES}=1", names.USER_HEADER, id="uid"),
        pytest.param("PUT", f"?{names.INDEXES}=1", names.GROUP_HEADER, id="gid"),
        pytest.param("POST", "", names.IDEMPOTENCY_HEADER, id="idempotency key"),
    ],
)
async def test_a_name_of_ten_kilobytes_is_refused(
    service: QueueServiceProcess, method: str, query: str, header: str
) -> None:
    headers = {"Authorization": TOKEN, **({header: "x" * 10_000} if header else {})}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.request(method, f"{service.url}{QUEUE}{query}") as answer,
    ):
        assert answer.status == 400
        assert "256" in await answer.text()


async def test_a_result_whose_tags_no_reader_could_take_is_refused_and_stays_the_workers(
    service: QueueServiceProcess,
) -> None:
    headers = {"Authorization": TOKEN}
    async with aiohttp.ClientSession(headers=headers) as session:
        await session.post(f"{service.url}{QUEUE}", data=b"x")
        async with session.ws_connect(f"{service.url}{WORK}") as socket:

            async def say(message: worker.FromWorker) -> worker.ToWorker:
                await socket.send_bytes(worker.encode_from_worker(message))
                return worker.decode_to_worker(await socket.receive_bytes(timeout=60))

            await say(worker.Hello(uid="w1", window=1))
            delivered = worker.decode_to_worker(await socket.receive_bytes(timeout=60))
            assert isinstance(delivered, worker.Deliveries)
            index = delivered.deliveries[0].index
            giant = worker.Result(b"r", {"tag": "x" * 100_000})
            for result, code in ((giant, Code.FRAME_TOO_BIG), (None, "")):
                said = await say(worker.Completions((worker.Completion(index, 1, result),)))
                assert isinstance(said, worker.Outcomes)
                assert said.outcomes[0].code == code


async def test_wrong_tokens_are_counted_and_do_not_fill_the_log(
    service: QueueServiceProcess,
) -> None:
    wrong = 1000
    async with aiohttp.ClientSession(headers={"Authorization": "guessed-token"}) as session:

        async def guess() -> int:
            async with session.post(f"{service.url}{QUEUE}", data=b"x") as answer:
                return answer.status

        assert set(await asyncio.gather(*(guess() for _ in range(wrong)))) == {401}
    assert await metric(service, "penstock_wrong_tokens_total") == wrong
    lines = [line for line in service.log.splitlines() if "without a valid token" in line]
    assert len(lines) == 1
    assert "127.0.0.1" in lines[0]
    assert "guessed-token" not in service.log


async def _at_most(look: Callable[[], Awaitable[int]], most: int) -> bool:
    return await look() <= most


async def test_a_watch_that_reads_nothing_is_given_no_more_than_fits_its_outbox(
    start_service: StartService,
) -> None:
    # Not the service above: this one shows how much of 64 MiB is kept for a client that does not
    # read, whatever its window.
    large = {"name": "svc", "memory": 1000, "input": {"max_payload_size_kb": 1024}}
    service = await start_service(large)
    entries = 64
    async with aiohttp.ClientSession(headers={"Authorization": TOKEN}) as session:
        address = f"{service.url}{QUEUE}"
        for _ in range(entries):
            async with session.post(address, data=bytes(MIB)) as answer:
                assert answer.status == 200
        with tiny_reader(service) as sock:
            sock.sendall(
                f"GET {WATCH}&{names.WINDOW}=64 HTTP/1.1\r\nHost: localhost\r\n"
                f"Authorization: {TOKEN}\r\n{names.USER_HEADER}: silent\r\n"
                "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
            )

            async def held() -> int:
                async with session.get(f"{service.url}/v1/services/svc", headers=ADMIN) as answer:
                    groups = (await answer.json())["input"]["groups"]
                    return sum(group["held"] for group in groups)

            await wait_until(held, "the silent one holds something")
            await hold_for(0.5, lambda: _at_most(held, 24), "it holds what fits its outbox")
            seen: set[int] = set()
            headers = {names.USER_HEADER: "other"}
            target = f"{service.url}{WATCH}&{names.WINDOW}=64"
            async with session.ws_connect(target, headers=headers, max_msg_size=0) as other:
                while len(seen) < entries - 24:
                    seen.add(decode(await other.receive_bytes(timeout=60)).index)
        async with session.delete(f"{address}?_trunc_=true&_index_={2**62}") as answer:
            assert answer.status == 200
