"""A credential that ends, ends everything that it has opened: on every route and replica."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from client_sdk.wire import names
from client_sdk.wire import worker as wire
from client_sdk.wire.codes import CloseCode
from queue_service.service.access import Scope
from queue_service.web.eas.routes import OPERATIONS
from queue_service.web.routes import TABLE
from tests.queue_service.bench import Bench
from tests.waiting import let_pass, wait_until

_JOBS = "/v1/services/{service}/jobs"
_DEAD = "/v1/services/{service}/dead-letters"
EAS = "/api/predict/{service}"
#: Seconds within which everything must have ended; the promise is one, the rest is for a busy
#: machine.
PATIENCE_S = 30.0
#: What is said to a request that was admitted before its credential ended.
ENDED = "during this request"
#: A form whose first part never comes.
FORM = "multipart/form-data; boundary=x"
POLL = {names.TIMEOUT: "60s"}
CHAT: dict[str, Any] = {"model": "svc", "messages": [{"role": "user", "content": "hi"}]}


@dataclass
class Client:
    """Opens what lasts, at one replica and with one token."""

    session: aiohttp.ClientSession
    url: str
    token: str
    job: str = ""
    running: str = ""

    def _headers(self, more: dict[str, str]) -> dict[str, str]:
        return {"Authorization": self.token, **more}

    async def refused(self, method: str, path: str, **more: Any) -> None:
        """Ask for what does not come; the end of the credential is said with a status."""
        headers = self._headers(more.pop("headers", {}))
        async with self.session.request(method, self.url + path, headers=headers, **more) as answer:
            text = await answer.text()
            assert answer.status == 401, (path, answer.status, text)
            assert ENDED in text, (path, text)

    async def cut(self, method: str, path: str, *, said: bytes = b"", **more: Any) -> None:
        """Ask for a stream; it ends with what is said, or without a word."""
        headers = self._headers(more.pop("headers", {}))
        read = b""
        try:
            async with self.session.request(
                method, self.url + path, headers=headers, **more
            ) as answer:
                assert answer.status in (200, 202), (path, await answer.text())
                async for piece in answer.content.iter_any():
                    read += piece
        except aiohttp.ClientError:
            assert not said, read
        assert said in read

    async def slow_form(self, path: str) -> None:
        """Upload a form that never ends."""
        await self._upload("POST", path, b"--x\r\n", {"Content-Type": FORM})

    async def slow_part(self) -> None:
        """Upload a part of a file that never ends."""
        begin = {**self._headers({}), "Upload-Length": "100"}
        async with self.session.post(f"{self.url}/v1/files/uploads", headers=begin) as answer:
            path = answer.headers["Location"]
        kind = {"Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"}
        await self._upload("PATCH", path, b"x", kind)

    async def slow_body(self, method: str, path: str, **headers: str) -> None:
        """Upload what never ends."""
        await self._upload(method, path, b'{"input": ', headers)

    async def _upload(self, method: str, path: str, begin: bytes, headers: dict[str, str]) -> None:
        async def body() -> AsyncIterator[bytes]:
            yield begin
            await asyncio.Event().wait()

        await self.refused(method, path, data=body(), headers=headers)

    async def closed(self, path: str, *messages: bytes) -> None:
        """Open a WebSocket; it is closed with the code for a token that is not valid."""
        async with self.session.ws_connect(self.url + path, headers=self._headers({})) as socket:
            for message in messages:
                await socket.send_bytes(message)
            # The code as it came: the library forgets it when its own half finds nobody.
            came = await socket.receive()
            while came.type is aiohttp.WSMsgType.BINARY:
                came = await socket.receive()
            assert came.data == CloseCode.UNAUTHORIZED, (path, came)

    def everything(self) -> dict[tuple[str, str], list[Awaitable[None]]]:
        """Whatever lasts, by route.  The EAS API has one route: its rows name the operation."""
        jobs, eas = "/v1/services/svc/jobs", "/api/predict/svc"
        hello = wire.encode_from_worker(wire.Hello(f"worker-of-{id(self)}", 0, held=()))
        stream, wait = {"Accept": "text/event-stream"}, {"Prefer": "wait=60"}
        ndjson = {"Content-Type": "application/x-ndjson"}
        return {
            ("GET", EAS): [
                self.refused("GET", f"{eas}/sink", params=POLL),
                self.refused("GET", f"{eas}/sink", params={**POLL, "_auto_delete_": "false"}),
                self.closed(f"{eas}/sink?_watch_=true"),
                self.cut("GET", f"{eas}/sink", params={names.WATCH: "true"}),
            ],
            ("POST", EAS): [self.slow_body("POST", eas), self.slow_body("POST", f"{eas}/sink")],
            ("PUT", EAS): [self.slow_body("PUT", f"{eas}?_indexes_=1&_negative_=true")],
            ("POST", _JOBS): [
                self.refused("POST", jobs, data=b"x", headers=wait),
                self.cut("POST", jobs, data=b"x", headers=stream),
                self.slow_body("POST", jobs),
                self.slow_body("POST", jobs, **ndjson),
            ],
            ("PUT", f"{_JOBS}/{{job}}"): [
                self.refused("PUT", f"{jobs}/of-{id(self)}", data=b"x", headers=wait),
                self.slow_body("PUT", f"{jobs}/slow"),
            ],
            ("GET", f"{_JOBS}/{{job}}/result"): [
                self.refused("GET", f"{jobs}/{self.job}/result", params={"wait": "60s"})
            ],
            ("GET", f"{_JOBS}/{{job}}/events"): [self.cut("GET", f"{jobs}/{self.job}/events")],
            ("GET", f"{_JOBS}/{{job}}/logs"): [
                self.cut("GET", f"{jobs}/{self.job}/logs", params={"follow": "true"})
            ],
            ("GET", "/v1/overview/events"): [self.cut("GET", "/v1/overview/events")],
            ("POST", f"{_JOBS}/{{job}}/cancel"): [
                self.refused("POST", f"{jobs}/{self.running}/cancel", headers=wait)
            ],
            ("GET", "/v1/services/{service}/work"): [
                self.closed("/v1/services/svc/work", hello),
                self.closed("/v1/services/svc/work"),
            ],
            ("POST", "/v1/services/{service}/work/files"): [
                self.slow_body("POST", "/v1/services/svc/work/files")
            ],
            ("POST", "/v1/chat/completions"): [
                self.refused("POST", "/v1/chat/completions", json=CHAT),
                self.cut(
                    "POST",
                    "/v1/chat/completions",
                    json={**CHAT, "stream": True},
                    said=b"invalid_api_key",
                ),
                self.slow_body("POST", "/v1/chat/completions"),
            ],
            **self._media(),
            **self._files(),
            ("POST", "/v1/batches"): [self.slow_body("POST", "/v1/batches")],
            ("POST", "/v1/embeddings"): [
                self.refused("POST", "/v1/embeddings", json={"model": "svc", "input": "hi"})
            ],
        }

    def _files(self) -> dict[tuple[str, str], list[Awaitable[None]]]:
        return {
            ("POST", "/v1/files"): [
                self.slow_body("POST", "/v1/files"),
                self.slow_body("POST", "/v1/files", **{"Content-Type": FORM}),
            ],
            ("PATCH", "/v1/files/uploads/{file}"): [self.slow_part()],
        }

    def _media(self) -> dict[tuple[str, str], list[Awaitable[None]]]:
        """Whatever lasts of the media APIs: their bodies, and the wait for a result."""
        asked = {"model": "svc", "prompt": "a", "input": "a", "file": "a"}
        waits = ["images/generations", "images/edits", "audio/speech"]
        waits += ["audio/transcriptions", "audio/translations"]
        return {
            ("POST", "/v1/videos"): [
                self.slow_body("POST", "/v1/videos"),
                self.slow_form("/v1/videos"),
            ],
            ("POST", "/v1/completions"): [
                self.refused("POST", "/v1/completions", json={"model": "svc", "prompt": "hi"})
            ],
            **{
                ("POST", f"/v1/{path}"): [
                    self.slow_body("POST", f"/v1/{path}"),
                    self.slow_form(f"/v1/{path}"),
                    self.refused("POST", f"/v1/{path}", json=asked),
                ]
                for path in waits
            },
        }

    def as_an_operator(self) -> dict[tuple[str, str], list[Awaitable[None]]]:
        """Whatever lasts of the operators' routes: their bodies."""
        return {
            ("PUT", "/v1/services/{service}"): [self.slow_body("PUT", "/v1/services/another")],
            **{
                ("PUT", f"/v1/services/{{service}}/{part}"): [
                    self.slow_body("PUT", f"/v1/services/svc/{part}")
                ]
                for part in ("autoscaler", "cronscaler", "scale")
            },
            ("PUT", "/v1/services/{service}/webhooks/{name}"): [
                self.slow_body("PUT", "/v1/services/svc/webhooks/mine")
            ],
            ("POST", "/v1/services/{service}/workers/leave"): [
                self.slow_body("POST", "/v1/services/svc/workers/leave")
            ],
            ("POST", "/v1/tokens"): [self.slow_body("POST", "/v1/tokens")],
            ("PATCH", f"{_DEAD}/{{id}}"): [
                self.slow_body("PATCH", "/v1/services/svc/dead-letters/1")
            ],
        }


async def _end_by_revocation(bench: Bench) -> tuple[str, Callable[[], Awaitable[object]]]:
    await bench.call("PUT", "/v1/services/svc", json={"token": "first"})
    token, token_id = await bench.make_token(*Scope, services=["svc"])
    return token, lambda: bench.call("DELETE", f"/v1/tokens/{token_id}")


async def _end_by_another_token(bench: Bench) -> tuple[str, Callable[[], Awaitable[object]]]:
    await bench.call("PUT", "/v1/services/svc", json={"token": "first"})
    return "first", lambda: bench.call("PUT", "/v1/services/svc", json={"token": "second"})


async def _end_of_openness(bench: Bench) -> tuple[str, Callable[[], Awaitable[object]]]:
    await bench.call("PUT", "/v1/services/svc", json={"token": ""})
    return "anything", lambda: bench.call("PUT", "/v1/services/svc", json={"token": "a"})


async def _end_of_time(bench: Bench) -> tuple[str, Callable[[], Awaitable[object]]]:
    await bench.call("PUT", "/v1/services/svc", json={"token": "first"})
    token, _ = await bench.make_token(*Scope, services=["svc"], expires_in_s=8)

    async def nothing() -> None:
        """The time passes by itself."""

    return token, nothing


@pytest.mark.leaves_entries
@pytest.mark.parametrize(
    "ending", [_end_by_revocation, _end_by_another_token, _end_of_openness, _end_of_time]
)
async def test_everything_that_a_credential_has_opened_ends_with_it(
    bench: Bench,
    ending: Callable[[Bench], Awaitable[tuple[str, Callable[[], Awaitable[object]]]]],
) -> None:
    await bench.call("PUT", "/v1/services/svc", json={"token": "first"})
    keeper, _ = await bench.make_token(*Scope)
    await bench.is_everywhere(keeper)
    running = (await bench.call("POST", "/v1/services/svc/jobs", data=b"1", token=keeper))["id"]
    waiting = (await bench.call("POST", "/v1/services/svc/jobs", data=b"2", token=keeper))["id"]
    worker = await bench.session.ws_connect(
        f"{bench.urls[0]}/v1/services/svc/work", headers={"Authorization": keeper}
    )
    await worker.send_bytes(wire.encode_from_worker(wire.Hello("keeper", 1, held=())))
    assert isinstance(wire.decode_to_worker((await worker.receive()).data), wire.Welcome)
    assert isinstance(wire.decode_to_worker((await worker.receive()).data), wire.Deliveries)

    # Last, because one of them has a short life.
    token, end = await ending(bench)
    await bench.is_everywhere(token)
    before = bench.under_way
    tasks = [
        asyncio.ensure_future(opened)
        for url in bench.urls
        for openings in Client(bench.session, url, token, waiting, running).everything().values()
        for opened in openings
    ]
    await wait_until(lambda: bench.under_way == before + len(tasks), "all is under way")
    # A stream of the OpenAI API begins after half a second of waiting.
    await let_pass(1.0)
    assert not [task for task in tasks if task.done()]

    await end()
    done, left = await asyncio.wait(tasks, timeout=PATIENCE_S)
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    assert not left
    for task in done:
        task.result()
    assert not worker.closed, "what another credential has opened goes on"
    await worker.close()


@pytest.mark.leaves_entries
async def test_what_an_operators_token_has_opened_ends_with_it(bench: Bench) -> None:
    await bench.call("PUT", "/v1/services/svc", json={"token": "first"})
    token, token_id = await bench.make_token(Scope.ADMIN)
    await bench.is_everywhere(token)
    tasks = [
        asyncio.ensure_future(opened)
        for url in bench.urls
        for openings in Client(bench.session, url, token).as_an_operator().values()
        for opened in openings
    ]
    await wait_until(lambda: bench.under_way == len(tasks), "all is under way")
    await bench.call("DELETE", f"/v1/tokens/{token_id}")
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(*tasks)


def test_everything_that_lasts_ends_in_these_tests() -> None:
    client = Client.__new__(Client)
    client.url = client.token = client.job = client.running = ""
    tried = {**client.everything(), **client.as_an_operator()}
    for openings in tried.values():
        for opened in openings:
            opened.close()  # type: ignore[attr-defined]
    lasting = {(route.method, route.documented_path) for route in TABLE if route.lasts}
    # A HEAD takes nothing and waits for nothing.
    lasting |= {(row.methods[0], EAS) for row in OPERATIONS if row.lasts}
    assert lasting == tried.keys()


async def test_a_handler_that_thinks_of_nothing_is_cut_off(bench: Bench) -> None:
    await bench.call("PUT", "/v1/services/svc", json={"token": "first"})
    await bench.is_everywhere("first")
    headers = {"Authorization": "first"}
    async with bench.session.get(f"{bench.urls[0]}/forgetful/route", headers=headers) as answer:
        assert await answer.content.readany() == b"begun"
        await bench.call("PUT", "/v1/services/svc", json={"token": "second"})
        with pytest.raises(aiohttp.ClientError):
            async with asyncio.timeout(PATIENCE_S):
                await answer.read()


@pytest.mark.leaves_entries
async def test_a_revoked_worker_loses_its_deliveries_at_once_and_they_are_not_charged(
    bench: Bench,
) -> None:
    await bench.call("PUT", "/v1/services/svc", json={"token": "first", "max_delivery": 1})
    token, token_id = await bench.make_token(Scope.WORK)
    await bench.is_everywhere("first")

    async def connect(uid: str, token: str) -> aiohttp.ClientWebSocketResponse:
        socket = await bench.session.ws_connect(
            f"{bench.urls[0]}/v1/services/svc/work", headers={"Authorization": token}
        )
        await socket.send_bytes(wire.encode_from_worker(wire.Hello(uid, 1, held=())))
        assert isinstance(wire.decode_to_worker((await socket.receive()).data), wire.Welcome)
        return socket

    async def delivered(socket: aiohttp.ClientWebSocketResponse) -> wire.Delivery:
        message = wire.decode_to_worker((await socket.receive(PATIENCE_S)).data)
        assert isinstance(message, wire.Deliveries)
        return message.deliveries[0]

    first = await connect("first", token)
    job = (await bench.call("POST", "/v1/services/svc/jobs", data=b"1", token="first"))["id"]
    held = await delivered(first)
    second = await connect("second", "first")
    await bench.call("DELETE", f"/v1/tokens/{token_id}")
    # A second attempt would be one too many.
    again = await delivered(second)
    assert (again.request_id, again.attempt) == (job, 1)

    forged = wire.Completions((wire.Completion(held.index, 1, wire.Result(b"forged")),))
    with contextlib.suppress(ConnectionError):
        await first.send_bytes(wire.encode_from_worker(forged))
    closed = await first.receive(PATIENCE_S)
    assert (closed.type, closed.data) == (aiohttp.WSMsgType.CLOSE, CloseCode.UNAUTHORIZED)
    state = await bench.call("GET", f"/v1/services/svc/jobs/{job}", token="first")
    assert (state["state"], state["worker"]) == ("running", "second")
    await second.close()
