"""The engine `http`: what the server is sent, and what becomes of what it answers."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace

import pytest

from inference_worker.engines.engine import (
    Context,
    Delta,
    EngineState,
    Event,
    Failed,
    Finished,
    Job,
)
from inference_worker.engines.load import EngineSpec, load_engine
from inference_worker.engines.upstream.engine import UpstreamEngine
from inference_worker.errors import BadEngine, EngineFailed
from tests.inference_worker.raw_server import (
    RawServer,
    Received,
    answer,
    gives_back,
    never_answers,
    says,
)
from tests.waiting import wait_until

Open = Callable[..., Awaitable[UpstreamEngine]]


@pytest.fixture
async def engine(server: RawServer) -> AsyncIterator[Open]:
    """Start an engine for the server: `await engine(mode="json", capacity=3)`."""
    opened: list[UpstreamEngine] = []

    async def start(*, capacity: int | None = None, **options: object) -> UpstreamEngine:
        where = {} if "port" in options else {"url": server.url}
        made = load_engine(EngineSpec("http", {**where, **options}, capacity))
        assert isinstance(made, UpstreamEngine)
        opened.append(made)
        await made.start(Context())
        return made

    yield start
    for one in opened:
        await one.stop(1.0)


async def events_of(engine: UpstreamEngine, job: Job) -> list[Event]:
    async with aclosing(engine.run(job)) as events:
        return [event async for event in events]


async def end_of(engine: UpstreamEngine, data: bytes = b"x") -> Event:
    return (await events_of(engine, Job("r-1", data)))[-1]


# --- What the server is sent


async def test_the_job_is_replayed_with_path_query_type_and_body(
    server: RawServer, engine: Open
) -> None:
    upstream = await engine(path="/v1")
    job = Job(
        "r-7",
        b"\x00picture",
        {"requestId": "r-7", "task_id": "a b&c", "größe": "1", "_index_": "3"},
        attempt=3,
        path="videox_fun/infer forward",
        content_type="image/png",
    )
    assert (await events_of(upstream, job))[-1] == Finished(b"\x00picture")
    (request,) = server.received
    assert (request.method, request.path) == ("POST", "/v1/videox_fun/infer%20forward")
    assert request.query == {"task_id": "a b&c", "größe": "1"}
    assert request.body == b"\x00picture"
    assert request.headers["content-type"] == "image/png"
    assert request.headers["x-eas-queueservice-request-id"] == "r-7"
    assert request.headers["x-penstock-attempt"] == "3"


async def test_a_job_without_anything_is_a_post_to_the_path_itself(
    server: RawServer, engine: Open
) -> None:
    upstream = await engine()
    assert await end_of(upstream, b"") == Finished(b"")
    (request,) = server.received
    assert (request.method, request.target, request.body) == ("POST", "/", b"")
    assert "content-type" not in request.headers


async def test_a_large_body_is_sent_as_it_is(server: RawServer, engine: Open) -> None:
    data = bytes(range(256)) * 20_000
    assert await end_of(await engine(), data) == Finished(data)
    assert server.received[0].headers["content-length"] == str(len(data))


async def test_headers_of_the_operator_are_sent_and_chosen_ones_come_back_as_tags(
    server: RawServer, engine: Open
) -> None:
    server.behave = says(answer(b"ok", X_Seed="7", X_Other="no"))
    upstream = await engine(
        send_headers={"Authorization": "Bearer k"}, headers=["X-Seed", "X-Gone"]
    )
    assert await end_of(upstream) == Finished(b"ok", {"X-Seed": "7"})
    assert server.received[0].headers["authorization"] == "Bearer k"


async def test_no_cookie_of_one_client_is_sent_for_the_next(
    server: RawServer, engine: Open
) -> None:
    server.behave = says(answer(b"ok", Set_Cookie="user=a; Path=/"))
    upstream = await engine()
    await end_of(upstream)
    await end_of(upstream)
    assert "cookie" not in server.received[1].headers


@pytest.mark.parametrize(
    "job",
    [
        Job("r", b"", path="../admin"),
        Job("r", b"", path="a/./b"),
        Job("r", b"", path="v1/..;/admin"),
        Job("r", b"", content_type="text/plain\r\nX-Evil: 1"),
    ],
)
async def test_what_fits_into_no_request_is_a_bad_input(
    server: RawServer, engine: Open, job: Job
) -> None:
    end = (await events_of(await engine(path="/v1"), job))[-1]
    assert isinstance(end, Failed)
    assert (end.code, end.retryable) == ("BadInput", False)
    assert server.received == []


async def test_a_request_id_of_any_characters_is_one_line(server: RawServer, engine: Open) -> None:
    upstream = await engine()
    await events_of(upstream, Job("é\r\nX-Evil: 1", b""))
    assert server.received[0].headers["x-eas-queueservice-request-id"] == "%C3%A9%0D%0AX-Evil:%201"
    assert "x-evil" not in server.received[0].headers


# --- What it answers


async def test_an_empty_answer_is_no_result(server: RawServer, engine: Open) -> None:
    server.behave = says(answer(b"", status=204))
    assert await end_of(await engine()) == Finished(b"")


@pytest.mark.parametrize("status", [301, 400, 404, 500, 503])
async def test_any_other_status_is_a_failure_that_keeps_the_body(
    server: RawServer, engine: Open, status: int
) -> None:
    server.behave = says(answer(b'{"error": "no"}\nmore', status=status, Location="/elsewhere"))
    where = " for POST /" if status == 404 else ""
    message = f'the server answered {status} Said{where}: {{"error": "no"}}'
    failed = Failed(str(status), message, data=b'{"error": "no"}\nmore')
    if status == 503:
        failed = replace(failed, is_busy=True, cooldown_s=1.0)
    assert await end_of(await engine()) == failed
    assert len(server.received) == 1


async def test_a_status_that_the_operator_calls_final_is_not_tried_again(
    server: RawServer, engine: Open
) -> None:
    server.behave = says(answer(b"bad prompt", status=422))
    end = await end_of(await engine(final_statuses=[400, 422]))
    assert isinstance(end, Failed)
    assert not end.retryable


async def test_json_is_looked_at_and_passed_on_as_it_came(server: RawServer, engine: Open) -> None:
    upstream = await engine(mode="json")
    assert await end_of(upstream, b'{ "a":1 }') == Finished(b'{ "a":1 }')
    assert server.received[0].headers["content-type"] == "application/json"
    long = json.dumps(["x" * 1000] * 1000).encode()
    assert await end_of(upstream, long) == Finished(long)
    assert await end_of(upstream, b"") == Finished(b"")
    end = await end_of(upstream, b"<html>")
    assert isinstance(end, Failed)
    assert (end.code, end.retryable) == ("UpstreamGarbage", True)


# --- Faults


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "UpstreamDown"),
        (b"\x16\x03\x01\x02\x00garbage\r\n\r\n", "UpstreamGarbage"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "UpstreamDown"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "UpstreamDown"),
        (b"HTTP/1.1 200 OK\r\nContent-Len", "UpstreamDown"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: minus\r\n\r\n", "UpstreamGarbage"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", "UpstreamGarbage"),
    ],
)
async def test_an_answer_that_is_none_is_a_failure_worth_a_retry(
    server: RawServer, engine: Open, data: bytes, code: str
) -> None:
    server.behave = says(data)
    upstream = await engine()
    end = await end_of(upstream)
    assert isinstance(end, Failed)
    assert (end.code, end.retryable) == (code, True)
    server.behave = gives_back
    assert await end_of(upstream, b"next") == Finished(b"next")


async def test_a_server_that_never_answers_is_given_up(server: RawServer, engine: Open) -> None:
    server.behave = never_answers
    end = await end_of(await engine(timeout_s=0.2))
    assert end == Failed("UpstreamTimeout", "the server did not answer within 0.2 s")
    await wait_until(lambda: server.open_now == 0, "the connection is closed")


async def test_a_huge_answer_is_not_read_to_its_end(server: RawServer, engine: Open) -> None:
    async def pours(request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()

    upstream = await engine(max_answer_bytes=1_000_000)
    too_big = Failed(
        "ResultTooBig", "the server's answer is longer than 1000000 bytes", retryable=False
    )
    server.behave = pours
    assert await end_of(upstream) == too_big
    server.behave = says(answer(b"x" * 1_000_001))
    assert await end_of(upstream) == too_big
    await wait_until(lambda: server.open_now == 0, "the connections are closed")


async def test_a_huge_error_is_cut(server: RawServer, engine: Open) -> None:
    server.behave = says(answer(b"x" * 1_000_000, status=500))
    end = await end_of(await engine())
    assert isinstance(end, Failed)
    assert (end.code, len(end.data)) == ("500", 64 * 1024)


async def test_a_cancelled_job_closes_its_connection(server: RawServer, engine: Open) -> None:
    server.behave = never_answers
    upstream = await engine()
    running = asyncio.create_task(end_of(upstream))
    await wait_until(lambda: server.open_now == 1, "the job is there")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await wait_until(lambda: server.open_now == 0, "the connection is closed")


async def test_a_job_cancelled_in_the_middle_of_a_stream_closes_its_connection(
    server: RawServer, engine: Open
) -> None:
    async def streams(request: Received, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: one\n\n")
        await asyncio.Event().wait()

    server.behave = streams
    upstream = await engine(mode="sse")
    async with aclosing(upstream.run(Job("r", b""))) as events:
        async for event in events:
            if event == Delta(b"one"):
                break
    await wait_until(lambda: server.open_now == 0, "the connection is closed")


# --- A server that is away


async def test_an_unreachable_server_takes_the_window_and_gives_it_back(
    server: RawServer, engine: Open
) -> None:
    upstream = await engine(capacity=3)
    windows: list[int] = []
    upstream.changed = lambda: windows.append(upstream.capacity)
    await server.stop()
    end = await end_of(upstream)
    assert isinstance(end, Failed)
    # The word for a job that never began, which is not charged for it.
    assert end.code == "Shutdown"
    await wait_until(lambda: windows == [0], "nothing is asked for any more")
    assert (await upstream.health()).state is EngineState.DEAD
    await server.start()
    await wait_until(lambda: windows == [0, 3], "it takes jobs again")
    assert await end_of(upstream, b"again") == Finished(b"again")


async def test_a_failure_of_a_server_that_is_there_leaves_the_window_alone(
    server: RawServer, engine: Open
) -> None:
    upstream = await engine(capacity=3)
    windows: list[int] = []
    upstream.changed = lambda: windows.append(upstream.capacity)
    server.behave = says(b"")
    for _ in range(5):
        assert isinstance(await end_of(upstream), Failed)
    server.behave = gives_back
    assert await end_of(upstream, b"fine") == Finished(b"fine")
    assert windows == []


async def test_a_server_that_says_it_is_ill_gets_no_jobs_until_it_is_well(
    server: RawServer, engine: Open
) -> None:
    ill = False

    async def behave(request: Received, writer: asyncio.StreamWriter) -> None:
        if request.method == "GET" and not ill:
            writer.write(answer())
        elif not ill:
            writer.write(answer(request.body))
        elif request.method == "GET":
            writer.write(answer(status=503))

    server.behave = behave
    upstream = await engine(health_path="/health")
    ill = True
    assert isinstance(await end_of(upstream), Failed)
    await wait_until(lambda: upstream.capacity == 0, "it gets no jobs")
    ill = False
    await wait_until(lambda: upstream.capacity == 5, "it gets jobs again")
    assert await end_of(upstream, b"well") == Finished(b"well")


async def test_an_engine_whose_server_is_not_there_does_not_load(engine: Open) -> None:
    with pytest.raises(
        EngineFailed, match=re.escape("the server takes no connection, after 0.3 s")
    ):
        await engine(port=9, start_timeout_s=0.3)


# --- Slots and options


@pytest.mark.parametrize(
    ("capacity", "slots", "expected"), [(None, None, 5), (16, None, 16), (None, 2, 2), (16, 2, 2)]
)
async def test_the_smaller_one_of_window_and_slots_holds(
    engine: Open, capacity: int | None, slots: int | None, expected: int
) -> None:
    upstream = await engine(capacity=capacity, slots=slots)
    assert upstream.capacity == expected


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("http", {}, "expected either a url or a port"),
        ("http:http://h", {"port": 1}, "expected either a url or a port"),
        ("http:http://h", {"url": "http://h"}, "expected one url"),
        ("http:ftp://h", {}, "url: "),
        ("http", {"port": 0}, "port 0, a free port"),
        ("http", {"port": 1, "mode": "xml"}, "mode: "),
        ("http", {"port": 1, "path": "v1"}, "path: "),
        ("http", {"port": 1, "send_headers": {"a b": "c"}}, "expected the name of a header"),
        ("http", {"port": 1, "send_headers": {"a": "c\r\nd: e"}}, "must be one line"),
        ("http", {"port": 1, "headers": ["_index_"]}, "expected the name of a header"),
        ("http", {"port": 1, "headers": ["requestId"]}, "is reserved for the request id"),
        ("http", {"port": 1, "colour": 1}, "knows, got colour; it knows url"),
    ],
)
def test_options_that_make_no_sense_are_reported(
    name: str, options: dict[str, object], told: str
) -> None:
    with pytest.raises(BadEngine, match=re.escape(told)):
        load_engine(EngineSpec(name, options))


async def test_a_password_in_the_url_is_sent_and_not_shown(server: RawServer, engine: Open) -> None:
    url = server.url.replace("//", "//me:secret@")
    made = load_engine(EngineSpec(f"http:{url}/v1"))
    assert made.name == f"http:{server.url}/v1"
    await made.start(Context())
    assert isinstance(made, UpstreamEngine)
    await end_of(made)
    await made.stop(1.0)
    assert server.received[0].headers["authorization"].startswith("Basic ")
    assert server.received[0].path == "/v1"
