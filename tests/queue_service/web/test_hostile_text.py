"""Text that clients and workers choose: no answer fails, breaks off or cannot be read for it."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_sdk.wire import events, names
from client_sdk.wire import worker as wire
from client_sdk.wire.codes import Code
from queue_service.web.header_text import header_text
from queue_service.web.strict_json import MAX_DEPTH, dumps
from tests.conftest import Serve
from tests.running import ADMIN_TOKEN, TOKEN

JOBS = "/v1/services/svc/jobs"
CHAT = "/v1/chat/completions"
AUTH = {"Authorization": TOKEN}


def _strict(text: str | bytes) -> Any:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return json.loads(text, parse_constant=refuse)


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(_JSON)
def test_whatever_was_read_is_written_as_json_that_everybody_reads(value: Any) -> None:
    _strict(dumps(value))
    _strict(dumps(value, ensure_ascii=False))


def test_what_is_nested_too_deep_is_cut() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert len(dumps(deep)) < 3 * MAX_DEPTH


@given(st.text())
def test_any_text_can_be_in_a_header(text: str) -> None:
    written = header_text(text)
    assert written.isascii()
    assert written.isprintable()
    assert written == written.strip()


def test_a_usual_word_is_in_a_header_as_it_is() -> None:
    assert header_text("Out of memory: 5 %") == "Out of memory: 5 %"


@pytest.fixture
async def worker(serve: Serve) -> AsyncIterator["Worker"]:
    url = await serve({"name": "svc"}, {"name": "other", "token": "another"})
    async with aiohttp.ClientSession() as session:
        socket = await session.ws_connect(f"{url}/v1/services/svc/work", headers=AUTH)
        await socket.send_bytes(wire.encode_from_worker(wire.Hello("w", 1, held=())))
        made = Worker(session, url, socket)
        assert isinstance(await made.next(), wire.Welcome)
        yield made
        await socket.close()


class Worker:
    """A worker that answers what the test says, and a client beside it."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        socket: aiohttp.ClientWebSocketResponse,
    ) -> None:
        self.session = session
        self.url = url
        self._socket = socket

    async def next(self) -> wire.ToWorker:
        return wire.decode_to_worker((await self._socket.receive()).data)

    async def send(self, message: wire.FromWorker) -> None:
        await self._socket.send_bytes(wire.encode_from_worker(message))

    async def take(self) -> wire.Delivery:
        message = await self.next()
        assert isinstance(message, wire.Deliveries)
        return message.deliveries[0]

    async def answer(self, data: bytes, tags: dict[str, str], *told: tuple[str, bytes]) -> str:
        """Answer the next job; return its id."""
        delivery = await self.take()
        said = tuple(
            events.Event(delivery.index, 1, delivery.request_id, number, kind, text, 0)
            for number, (kind, text) in enumerate(told, 1)
        )
        if said:
            await self.send(events.Events(said))
        result = wire.Result(data, tags)
        await self.send(wire.Completions((wire.Completion(delivery.index, 1, result),)))
        while not isinstance(await self.next(), wire.Outcomes):
            pass
        return delivery.request_id

    async def call(self, method: str, path: str, **more: Any) -> tuple[int, bytes, Any]:
        headers = {**AUTH, **more.pop("headers", {})}
        async with self.session.request(method, self.url + path, headers=headers, **more) as answer:
            return answer.status, await answer.read(), answer.headers.copy()


@pytest.mark.leaves_entries
@pytest.mark.parametrize(
    ("said", "read"),
    [("²", None), ("5" * 5000, None), ("-1", None), ("", None), ("٣", None), ("503", 503)],
)
async def test_a_status_that_is_no_number_leaves_the_error_readable(
    worker: Worker, said: str, read: int | None
) -> None:
    _, body, _ = await worker.call("POST", JOBS, data=b"x")
    job = json.loads(body)["id"]
    await worker.answer(b"why", {names.LAST_CODE_TAG: said, names.ERROR_CODE_TAG: "Bad"})
    status, body, _ = await worker.call("GET", f"{JOBS}/{job}/result")
    assert (status, _strict(body)["last_code"]) == (409, read)
    for path in (f"{JOBS}/{job}", JOBS, f"{JOBS}/{job}/events"):
        assert (await worker.call("GET", path))[0] == 200, path


@pytest.mark.leaves_entries
@pytest.mark.parametrize("word", ["a\r\nSet-Cookie: b", "a\nb", "\x00", "ä\ud7ff€", "\x7f", " "])
async def test_a_code_or_tag_with_line_breaks_is_answered(worker: Worker, word: str) -> None:
    tags = {names.ERROR_CODE_TAG: word, "note": word, word or "x": "y"}

    async def fail() -> None:
        await worker.answer(b"why", tags)

    chat = {"model": "svc", "messages": [{"role": "user", "content": "hi"}]}
    failing = asyncio.create_task(fail())
    status, body, headers = await worker.call("POST", CHAT, json=chat)
    await failing
    assert status == 500
    assert _strict(body)["error"]["code"] == word
    assert "Set-Cookie" not in headers
    _, body, _ = await worker.call("POST", JOBS, data=b"x")
    job = json.loads(body)["id"]
    await worker.answer(b"why", tags)
    assert (await worker.call("GET", f"{JOBS}/{job}/result"))[0] == 409
    status, _, headers = await worker.call("GET", "/api/predict/svc/sink")
    assert status == 200
    assert json.loads(headers[names.TAGS_HEADER])["note"] == word


@pytest.mark.leaves_entries
async def test_numbers_that_json_does_not_have_are_null_in_events_and_answers(
    worker: Worker,
) -> None:
    _, body, _ = await worker.call("POST", JOBS, data=b"x")
    job = json.loads(body)["id"]
    told = b'{"loss": NaN, "rate": 1e999, "least": -Infinity}'
    await worker.answer(b'{"a": NaN}', {}, (events.PROGRESS, told))
    _, body, _ = await worker.call("GET", f"{JOBS}/{job}/events")
    said = [line[6:] for line in body.decode().splitlines() if line.startswith("data: ")]
    assert {"loss": None, "rate": None, "least": None, "attempt": 1} in map(_strict, said)
    _, _, headers = await worker.call("GET", f"{JOBS}/{job}/result")
    assert headers["Content-Type"].startswith("text/plain")


NASTY = [
    b"[" * 100_000,
    b'{"input":' * 50_000,
    b'{"input": ' + b"[" * 900 + b"]" * 900 + b"}",
    b'{"model": "svc", "input": ' + b"[" * 900 + b"]" * 900 + b', "messages": [1], "prompt": "x"}',
    b'{"input": 1, "priority": ' + b"[" * 900 + b"]" * 900 + b"}",
    b'{"input": ' + b"9" * 5000 + b"}",
    b'{"input": NaN, "model": Infinity}',
    b'{"input": 1e999, "model": "svc", "messages": 1e999}',
    b'{"input": "\\ud800", "content_type": "\\ud800", "path": "\\udfff"}',
    b'{"input": 1, "tags": {"\\ud800": "\\u0000"}, "id": "\\ud800"}',
    b'{"input": 1, "content_type": "a\\r\\nb"}',
    b'{"model": "\\ud800", "messages": [1], "prompt": "\\ud800", "input": "\\ud800"}',
    b'{"name": "\\u0000", "scopes": ["\\ud800"], "token": "\\ud800"}',
    b'{"input": 1, "input": 2, "input_base64": "\xff"}',
    b"\xc0\xaf\xed\xa0\x80\x00",
    b"\xef\xbb\xbf{}",
    b'{"data": "\\ud800", "tags": {"a": "\\ud800"}}',
    b"",
]
ROUTES = [
    ("POST", JOBS, "application/x-ndjson"),
    ("POST", JOBS, "application/json"),
    ("PUT", f"{JOBS}/an-id", "application/json"),
    ("POST", CHAT, "application/json"),
    ("POST", "/v1/completions", "application/json"),
    ("POST", "/v1/embeddings", "application/json"),
    ("POST", "/v1/tokens", "application/json"),
    ("PUT", "/v1/services/new", "application/json"),
    ("PATCH", "/v1/services/svc/dead-letters/1", "application/json"),
    ("POST", "/api/predict/svc", "application/json"),
    ("PUT", "/api/predict/svc?_indexes_=1&_negative_=true", "application/x-www-form-urlencoded"),
]


@pytest.mark.leaves_entries
@pytest.mark.parametrize(("method", "path", "kind"), ROUTES)
async def test_no_body_makes_a_route_fail_or_break_off(
    serve: Serve, method: str, path: str, kind: str
) -> None:
    # A chat waits for a worker; here there is none, so the time of the request is bounded.
    url = await serve({"name": "svc", "input": {"max_payload_size_kb": 512}})
    waits = path.startswith(("/v1/c", "/v1/emb"))
    patience = aiohttp.ClientTimeout(total=2 if waits else 60)
    admin = path.startswith(("/v1/tokens", "/v1/services/new", "/v1/services/svc/dead"))
    headers = {"Authorization": ADMIN_TOKEN if admin else TOKEN, "Content-Type": kind}
    async with aiohttp.ClientSession(headers=headers) as session:
        for body in NASTY:
            try:
                async with session.request(
                    method, url + path, data=body, timeout=patience
                ) as answer:
                    text = await answer.read()
            except TimeoutError:
                assert waits, (path, body[:60])
                continue
            assert answer.status < 500, (path, body[:60], text)
            for line in text.splitlines() if kind.endswith("ndjson") else ():
                assert _strict(line)["status"] < 500, (body[:60], line)
        if "new" in path:
            # The empty body is a service with every default.
            async with session.delete(url + path) as answer:
                assert answer.status == 200


async def test_strangers_cannot_tell_which_services_there_are(worker: Worker) -> None:
    for method, path, upgrade in (
        ("GET", "/api/predict/{}", False),
        ("POST", "/api/predict/{}/sink", False),
        ("OPTIONS", "/api/predict/{}", False),
        ("GET", "/v1/services/{}", False),
        ("GET", "/v1/services/{}/jobs", False),
        ("POST", "/v1/services/{}/jobs", False),
        ("GET", "/v1/services/{}/jobs/x/events", False),
        ("OPTIONS", "/v1/services/{}/jobs", False),
        ("GET", "/v1/services/{}/work", True),
        ("GET", "/v1/services/{}/dead-letters", False),
        ("GET", "/v1/models/{}", False),
        ("GET", "/api/v1/servicediscovery/upstreams/{}", False),
    ):
        for token in ({}, {"Authorization": "wrong"}):
            headers = dict(token)
            if upgrade:
                headers |= {"Upgrade": "websocket", "Connection": "Upgrade"}
            answers = []
            for name in ("svc", "abc"):
                async with worker.session.request(
                    method, worker.url + path.format(name), headers=headers
                ) as answer:
                    text = (await answer.text()).replace(name, "NAME")
                    own = ("Date", "X-Request-ID")
                    shown = {k: v for k, v in answer.headers.items() if k not in own}
                    answers.append((answer.status, text, shown))
            assert answers[0] == answers[1], (method, path)
    status, body, _ = await worker.call("GET", "/api/predict/nowhere")
    assert (status, b"there is no service" in body) == (404, True)


@pytest.mark.leaves_entries
async def test_who_may_only_cancel_cannot_delete_a_result(worker: Worker) -> None:
    wish = {"scopes": ["cancel", "submit", "all"]}
    admin = {"Authorization": ADMIN_TOKEN}
    async with worker.session.post(f"{worker.url}/v1/tokens", json=wish, headers=admin) as answer:
        token = {"Authorization": (await answer.json())["token"]}
    _, body, _ = await worker.call("POST", JOBS, data=b"x")
    job = json.loads(body)["id"]
    await worker.answer(b"the result", {})
    status, _, _ = await worker.call("DELETE", f"{JOBS}/{job}", headers=token)
    assert status == 403
    assert (await worker.call("GET", f"{JOBS}/{job}/result"))[1] == b"the result"
    _, body, _ = await worker.call("POST", f"{JOBS}?not_before=1h", data=b"x")
    waiting = json.loads(body)["id"]
    assert (await worker.call("DELETE", f"{JOBS}/{waiting}", headers=token))[0] == 204


@pytest.mark.leaves_entries
async def test_an_ended_stream_takes_no_jobs_either(worker: Worker) -> None:
    key = {"Idempotency-Key": "k"}
    _, body, _ = await worker.call("POST", f"{JOBS}?not_before=1h", data=b"x", headers=key)
    job = json.loads(body)["id"]
    eos = f"/api/predict/svc?{names.END_OF_STREAM}"
    assert (await worker.call("POST", f"{eos}=true"))[0] == 200
    chat = {"model": "svc", "messages": [{"role": "user", "content": "hi"}]}
    for path, more in ((JOBS, {"data": b"x"}), (CHAT, {"json": chat})):
        status, _, headers = await worker.call("POST", path, **more)
        assert (status, headers[names.ERROR_CODE_HEADER]) == (409, Code.QUEUE_ENDED), path
    ndjson = {"Content-Type": "application/x-ndjson"}
    _, body, _ = await worker.call("POST", JOBS, data=b'{"input": 1}', headers=ndjson)
    assert json.loads(body)["problem"]["code"] == Code.QUEUE_ENDED
    # The same again is no new job.
    status, body, _ = await worker.call("POST", f"{JOBS}?not_before=1h", data=b"x", headers=key)
    assert (status, json.loads(body)["id"]) == (202, job)
    assert (await worker.call("POST", f"{eos}=false"))[0] == 200
    assert (await worker.call("POST", JOBS, data=b"x"))[0] == 202
