"""Bytes and numbers at the edges: odd headers, odd paths, the ends of the number range."""

import asyncio
import json

import aiohttp
import pytest

from client_sdk.wire import names
from client_sdk.wire import worker as wire
from tests.queue_service.conftest import Stored
from tests.queue_service.web.raw import RawRequest, answer_of
from tests.running import ADMIN_TOKEN, TOKEN

pytestmark = pytest.mark.usefixtures("emptied", "neighbour")

ODD = [
    pytest.param(b"POST /api/predict/svc HTTP/1.1", b"Content-Type: \xff\xfe", id="content type"),
    pytest.param(b"POST /api/predict/svc/a\xff/b HTTP/1.1", b"X-A: b", id="path"),
    pytest.param(b"POST /api/predict/svc?colour=\xff HTTP/1.1", b"X-A: b", id="tag"),
    pytest.param(b"POST /api/predict/svc?\xff=red HTTP/1.1", b"X-A: b", id="tag name"),
    pytest.param(b"POST /api/predict/svc HTTP/1.1", b"Idempotency-Key: \xff", id="key"),
    pytest.param(b"GET /api/predict/svc?requestId=\xff HTTP/1.1", b"X-A: b", id="request id"),
    pytest.param(b"GET /api/predict/svc?colour=\xff HTTP/1.1", b"X-A: b", id="filter"),
]


@pytest.mark.parametrize(("line", "header"), ODD)
async def test_bytes_that_are_no_text_disturb_nobody(
    raw: RawRequest, session: aiohttp.ClientSession, eas: str, line: bytes, header: bytes
) -> None:
    async def put(number: int) -> int:
        async with session.post(f"{eas}/svc", data=f"{number}") as answer:
            return answer.status

    request = b"\r\n".join(
        [
            line,
            b"Host: localhost",
            b"Authorization: " + TOKEN.encode(),
            header,
            b"Content-Length: 0",
        ]
    )
    puts = [asyncio.create_task(put(number)) for number in range(40)]
    odd = [await raw.send_bytes(request + b"\r\n\r\n") for _ in range(10)]
    puts += [asyncio.create_task(put(number)) for number in range(40)]

    statuses = [(await answer_of(*connection))[0] for connection in odd]

    assert set(statuses) <= {200, 204, 400}
    assert set(await asyncio.gather(*puts)) == {200}
    # Whatever was stored of it can be read by everybody, and by a filter.
    read = {names.RAW: "false", names.LENGTH: "1000", "colour": "red"}
    async with session.get(f"{eas}/svc", params=read) as answer:
        assert answer.status == 204
    del read["colour"]
    for accept in (names.JSON, names.PROTOBUF):
        query = {**read, names.AUTO_DELETE: "false"}
        async with session.get(f"{eas}/svc", params=query, headers={"Accept": accept}) as answer:
            assert answer.status == 200


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"[" * 30_000, id="deep lists"),
        pytest.param(b'{"a":' * 30_000, id="deep objects"),
        pytest.param(b'{"token": "\\ud800"}', id="half a surrogate pair"),
    ],
)
async def test_a_description_of_a_service_that_is_no_text_is_refused(
    session: aiohttp.ClientSession, eas: str, body: bytes
) -> None:
    address = f"{eas.removesuffix(names.EAS_PREFIX)}/v1/services/odd"
    headers = {"Authorization": ADMIN_TOKEN}
    async with session.put(address, data=body, headers=headers) as answer:
        assert answer.status == 400, await answer.text()
        assert answer.headers[names.ERROR_CODE_HEADER] == "BAD_PARAMETER"
    async with session.get(address, headers=headers) as answer:
        assert answer.status == 404


@pytest.mark.parametrize("path", [b"/api/predict/svc", b"/healthz", b"/nowhere"])
async def test_an_expectation_that_is_no_text_is_refused_and_is_no_defect(
    raw: RawRequest, path: bytes
) -> None:
    lines = [
        b"GET " + path + b" HTTP/1.1",
        b"Host: localhost",
        b"Expect: \x80",
        b"Content-Length: 0",
    ]
    lines.append(b"Authorization: " + TOKEN.encode())
    status, answer = await answer_of(*await raw.send_bytes(b"\r\n".join(lines) + b"\r\n\r\n"))
    assert status == 417
    assert f"{names.ERROR_CODE_HEADER}: BAD_PARAMETER".encode() in answer


@pytest.mark.parametrize("index", ["0", "1", str(2**63 - 1)])
async def test_the_ends_of_the_number_range_are_indexes(
    session: aiohttp.ClientSession, eas: str, index: str
) -> None:
    address = f"{eas}/svc"
    async with session.put(address, params={names.INDEXES: index}) as answer:
        assert (answer.status, await answer.text()) == (200, "OK")
    async with session.delete(address, params={names.INDEXES: index}) as answer:
        assert (answer.status, await answer.text()) == (200, "OK")
    async with session.get(address, params={names.INDEX: index}) as answer:
        assert answer.status == 204
    async with session.get(address, params={names.SEARCH: "true", names.INDEX: index}) as answer:
        assert answer.status == 404
    query = {names.TRUNCATE: "true", names.INDEX: index}
    async with session.delete(address, params=query) as answer:
        assert answer.status == 200, await answer.text()


@pytest.mark.parametrize(("method", "status"), [("HEAD", 204), ("OPTIONS", 204), ("PATCH", 405)])
async def test_a_method_that_is_none_of_the_queues_changes_nothing(
    session: aiohttp.ClientSession, eas: str, stored: Stored, method: str, status: int
) -> None:
    async with session.request(method, f"{eas}/svc", data=b"x") as answer:
        assert answer.status == status
    assert await stored.entries() == 0


async def test_tags_of_any_text_come_back_from_both_queues(
    session: aiohttp.ClientSession, eas: str
) -> None:
    tags = {
        "ключ": "значение",
        "😀": "👩‍👩‍👧",
        "nul": "a\x00b",
        "line": "a\r\nb",
        "unit": "a\x1fb",
        "1": "2",
        'quote"\\/': '"\\/',
        "empty": "",
    }
    async with session.post(f"{eas}/worked", data=b"x", params=tags) as answer:
        assert answer.status == 200
        request_id = answer.headers[names.REQUEST_ID_HEADER]
    url = eas.removesuffix(names.EAS_PREFIX)
    path = names.WORK_PATH.format(service="worked")
    async with session.ws_connect(url + path, headers={"Authorization": TOKEN}) as socket:
        await socket.send_bytes(wire.encode_from_worker(wire.Hello("odd", 1)))
        assert isinstance(wire.decode_to_worker(await socket.receive_bytes()), wire.Welcome)
        message = wire.decode_to_worker(await socket.receive_bytes())
        assert isinstance(message, wire.Deliveries)
        (delivery,) = message.deliveries
        assert delivery.tags == {**tags, names.REQUEST_ID_TAG: request_id}
        result = wire.Result(b"y", {"añadido": "sí\x00"})
        done = wire.Completion(delivery.index, delivery.attempt, result)
        await socket.send_bytes(wire.encode_from_worker(wire.Completions((done,))))
        assert isinstance(wire.decode_to_worker(await socket.receive_bytes()), wire.Outcomes)
    query = {names.RAW: "false", **tags}
    async with session.get(f"{eas}/worked/{names.SINK}", params=query) as answer:
        (item,) = json.loads(await answer.read())
    assert item["tags"] == {**tags, "añadido": "sí\x00", names.REQUEST_ID_TAG: request_id}


async def test_with_a_repeated_parameter_the_last_one_wins(
    session: aiohttp.ClientSession, eas: str
) -> None:
    async with session.post(f"{eas}/svc?a=1&a=2&_priority_=1&_priority_=0") as answer:
        assert answer.status == 200
    async with session.get(
        f"{eas}/svc?_auto_delete_=true&_raw_=true&_raw_=false&a=1&a=2"
    ) as answer:
        (item,) = json.loads(await answer.read())
    assert item["tags"]["a"] == "2"


async def test_a_watch_that_is_no_websocket_handshake_takes_nothing_over(
    session: aiohttp.ClientSession, eas: str, raw: RawRequest
) -> None:
    headers = {names.USER_HEADER: "one"}
    address = f"{eas}/svc?_watch_=true&_window_=1"
    async with session.ws_connect(address, headers=headers) as socket:
        head = "GET /api/predict/svc?_watch_=true HTTP/1.1\r\nHost: localhost\r\n"
        head += f"Upgrade: websocket\r\nAuthorization: {TOKEN}\r\n{names.USER_HEADER}: one\r\n\r\n"
        status, _ = await answer_of(*await raw.send_bytes(head.encode()))
        assert status == 400

        async with session.post(f"{eas}/svc", data=b"x") as answer:
            index = int(await answer.text())
        message = await socket.receive(timeout=60)
        assert message.type is aiohttp.WSMsgType.BINARY
        await session.put(f"{eas}/svc", params={names.INDEXES: str(index)}, headers=headers)


async def test_a_worker_that_claims_ten_thousand_lost_deliveries_is_welcome(
    session: aiohttp.ClientSession, eas: str
) -> None:
    url = eas.removesuffix(names.EAS_PREFIX)
    path = names.WORK_PATH.format(service="worked")
    held = tuple(wire.Held(index, 1) for index in range(1, 10_001))
    async with session.ws_connect(url + path, max_msg_size=0) as socket:
        await socket.send_bytes(wire.encode_from_worker(wire.Hello("w", 10_000, held=held)))
        message = await socket.receive(timeout=60)
        assert message.type is aiohttp.WSMsgType.BINARY
        welcome = wire.decode_to_worker(message.data)
        assert isinstance(welcome, wire.Welcome)
        assert len(welcome.lost) == 10_000
