"""A server behind the whole path: what a client gets from the sink, and what the server sees."""

import asyncio
from collections import Counter

import aiohttp

from tests.conftest import StartService, StartWorker
from tests.inference_worker.raw_server import RawServer, Received, answer, never_answers, says
from tests.inference_worker.test_with_the_queue_service import OpenClient, client, collect
from tests.running import TOKEN
from tests.waiting import wait_until

__all__ = ["client"]  # a fixture

JOBS = 60
SLOTS = 16


async def test_sixteen_jobs_are_with_the_server_at_once_and_never_more(
    start_service: StartService, start_worker: StartWorker, client: OpenClient, server: RawServer
) -> None:
    full = asyncio.Event()

    async def waits_until_full(request: Received, writer: asyncio.StreamWriter) -> None:
        if server.open_now == SLOTS:
            full.set()
        await full.wait()
        writer.write(answer(request.body))

    server.behave = waits_until_full
    service = await start_service()
    await start_worker(service.url, engine=f"http:{server.url}", worker_threads=SLOTS)
    queue = client(service)
    for n in range(JOBS):
        await queue.put(b"%d" % n)
    frames = await collect(queue, JOBS)
    assert Counter(frame.data for frame in frames) == Counter(b"%d" % n for n in range(JOBS))
    assert server.most_open == SLOTS
    assert len(server.received) == JOBS


async def test_sub_path_query_and_content_type_of_a_post_reach_the_server(
    start_service: StartService, start_worker: StartWorker, client: OpenClient, server: RawServer
) -> None:
    service = await start_service()
    await start_worker(service.url, engine=f"http:{server.url}")
    async with aiohttp.ClientSession(headers={"Authorization": TOKEN}) as http:
        url = f"{service.url}/api/predict/svc/api_prompt?task_id=t+1&_priority_=1"
        async with http.post(url, data=b"{}", headers={"Content-Type": "text/x; a=b"}) as put:
            request_id = put.headers["X-Eas-Queueservice-Request-Id"]
    (frame,) = await collect(client(service), 1)
    assert frame.tags == {"requestId": request_id, "task_id": "t 1"}
    (request,) = server.received
    assert (request.path, request.query) == ("/api_prompt", {"task_id": "t 1"})
    assert request.headers["content-type"] == "text/x; a=b"
    assert request.headers["x-eas-queueservice-request-id"] == request_id


async def test_an_error_status_is_tried_as_often_as_permitted_and_its_body_is_the_answer(
    start_service: StartService, start_worker: StartWorker, client: OpenClient, server: RawServer
) -> None:
    server.behave = says(answer(b'{"detail": "no prompt"}', status=422))
    service = await start_service({"name": "svc", "max_delivery": 3})
    await start_worker(service.url, engine=f"http:{server.url}")
    queue = client(service)
    await queue.put(b"x")
    (frame,) = await collect(queue, 1)
    assert frame.data == b'{"detail": "no prompt"}'
    assert (frame.tags["lastCode"], frame.tags["errorCode"]) == ("422", "422")
    assert [request.headers["x-penstock-attempt"] for request in server.received] == ["1", "2", "3"]


async def test_an_error_whose_body_the_sink_does_not_take_is_cut_and_keeps_its_code(
    start_service: StartService, start_worker: StartWorker, client: OpenClient, server: RawServer
) -> None:
    server.behave = says(answer(b"x" * 60_000, status=500))
    limits = {"sink": {"max_payload_size_kb": 1}, "max_delivery": 1}
    service = await start_service({"name": "svc", **limits})
    await start_worker(service.url, engine=f"http:{server.url}")
    queue = client(service)
    await queue.put(b"x")
    (frame,) = await collect(queue, 1)
    assert frame.data == b"x" * 1000
    assert frame.tags["lastCode"] == "500"


async def test_an_empty_answer_leaves_the_sink_empty(
    start_service: StartService, start_worker: StartWorker, client: OpenClient, server: RawServer
) -> None:
    server.behave = says(answer(b""))
    service = await start_service()
    await start_worker(service.url, engine=f"http:{server.url}")
    queue = client(service)
    await queue.put(b"x")

    async def empty() -> bool:
        return await queue.count() == 0

    await wait_until(empty, "the input entry is done")
    assert await queue.sink.get() == []


async def test_a_server_that_never_answers_is_reported_as_a_timeout(
    start_service: StartService, start_worker: StartWorker, client: OpenClient, server: RawServer
) -> None:
    server.behave = never_answers
    service = await start_service({"name": "svc", "max_delivery": 2})
    await start_worker(service.url, engine=f"http:{server.url}", engine_options={"timeout_s": 0.2})
    queue = client(service)
    await queue.put(b"x")
    (frame,) = await collect(queue, 1)
    assert (frame.tags["lastCode"], frame.tags["errorCode"]) == ("504", "UpstreamTimeout")
    assert len(server.received) == 2


async def test_a_server_that_is_away_for_a_while_costs_no_job_an_attempt(
    start_service: StartService, start_worker: StartWorker, client: OpenClient, server: RawServer
) -> None:
    service = await start_service({"name": "svc", "max_delivery": 1})
    worker = await start_worker(service.url, engine=f"http:{server.url}")
    await wait_until(lambda: "Connected" in worker.log, "the worker is connected")
    await server.stop()
    queue = client(service)
    for n in range(30):
        await queue.put(b"%d" % n)
    await wait_until(lambda: "The window is 0 now" in worker.log, "the worker asks for nothing")
    await server.start()
    frames = await collect(queue, 30)
    assert not any("errorCode" in frame.tags for frame in frames)
