"""The conformance checklist of the EAS protocol, items 25, 26, 28 and 30; and PAI's predictor.

What happens when something fails: an entry nobody manages, a full queue, a model with an error.
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator

import aiohttp
import pytest

from client_sdk.wire import names
from tests.compatibility.eas_sdk import EasError, EasSdk
from tests.conftest import StartService, StartWorker
from tests.inference_worker.raw_server import RawServer, Received, answer
from tests.running import TOKEN
from tests.waiting import hold_for_blocking, wait_until, wait_until_blocking


@pytest.mark.parametrize("policy", ["Rear", "Drop"])
async def test_item_25_after_max_delivery_deliveries_an_entry_obeys_its_policy(
    sdk: EasSdk, start_service: StartService, policy: str
) -> None:
    service = await start_service(
        {"name": "svc", "max_delivery": 2, "dead_message_policy": policy}, release_grace_ms=0
    )
    queue = sdk.client(service.url, "svc", uid="u0")
    index, request_id = queue.put("poison", {"k": "v"})
    for attempt in range(2):
        taker = sdk.client(service.url, "svc", uid=f"u{attempt}")
        watch = taker.watch(0, 1)
        assert [frame.index for frame in watch.wait_for(1)] == [int(index)]
        watch.close()
    last = sdk.client(service.url, "svc", uid="u3").watch(0, 5)
    try:
        if policy == "Drop":
            wait_until_blocking(lambda: queue.length == 0, "it is deleted")
            hold_for_blocking(0.3, lambda: not last.frames, "nobody gets it")
        else:
            (frame,) = last.wait_for(1)
            assert frame.index > int(index)
            assert (frame.text, frame.tags) == ("poison", {"k": "v", "requestId": request_id})
            queue.delete(frame.index)
    finally:
        last.close()


async def test_item_25_what_is_held_longer_than_max_idle_goes_to_the_other(
    sdk: EasSdk, start_service: StartService
) -> None:
    service = await start_service({"name": "svc", "max_idle": "1s"})
    queue = sdk.client(service.url, "svc", uid="idle")
    index = int(queue.put("x")[0])
    idle = queue.watch(0, 1)
    idle.wait_for(1)
    busy = sdk.client(service.url, "svc", uid="busy")
    watch = busy.watch(0, 1)
    try:
        assert [frame.index for frame in watch.wait_for(1)] == [index]
        busy.commit(index)
        assert queue.length == 0
    finally:
        watch.close()
        idle.close()


async def test_item_26_a_full_queue_refuses_and_loses_nothing(
    sdk: EasSdk, start_service: StartService
) -> None:
    service = await start_service({"name": "svc", "input": {"max_length": 3}})
    queue = sdk.client(service.url, "svc", retry_count=5)
    for number in range(3):
        queue.put(str(number))
    with pytest.raises(EasError) as refused:
        queue.put("one too many")
    assert (refused.value.name, refused.value.code) == ("PredictException", 429)
    frames = queue.get(length=10, timeout="0")
    assert [frame.text for frame in frames] == ["0", "1", "2"]


async def test_item_26_with_auto_evict_the_oldest_makes_room(
    sdk: EasSdk, start_service: StartService
) -> None:
    service = await start_service({"name": "svc", "input": {"max_length": 3, "auto_evict": True}})
    queue = sdk.client(service.url, "svc")
    for number in range(5):
        queue.put(str(number))
    assert queue.length == 3
    frames = queue.get(length=10, timeout="0")
    assert [frame.text for frame in frames] == ["2", "3", "4"]


async def follows_instructions(request: Received, writer: asyncio.StreamWriter) -> None:
    """Answer with nothing, with an error, or with what came."""
    match request.body.split():
        case [b"nothing"]:
            writer.write(answer(b""))
        case [b"status", status]:
            writer.write(answer(b"it failed", status=int(status)))
        case _:
            writer.write(answer(request.body))


@pytest.fixture
async def model() -> AsyncIterator[RawServer]:
    server = RawServer(follows_instructions)
    await server.start()
    yield server
    await server.stop()


async def test_item_28_an_empty_answer_is_no_frame_and_an_error_is_one_with_last_code(
    sdk: EasSdk, start_service: StartService, start_worker: StartWorker, model: RawServer
) -> None:
    service = await start_service({"name": "svc", "max_delivery": 2})
    await start_worker(service.url, engine=f"http:{model.url}")
    queue, sink = sdk.client(service.url, "svc"), sdk.client(service.url, "svc/sink")

    queue.put("nothing")
    await wait_until(lambda: queue.length == 0, "the input is done with")
    assert sink.length == 0

    _, request_id = queue.put("status 500", {"k": "v"})
    await wait_until(lambda: sink.length == 1, "the error is in the sink")
    (frame,) = sink.get(request_id=request_id)
    assert frame.text == "it failed"
    assert (frame.tags["lastCode"], frame.tags["k"]) == ("500", "v")
    assert [request.body for request in model.received] == [b"nothing", *[b"status 500"] * 2]


async def test_item_30_curl_without_raw_reads_the_payload_and_a_sub_path_reaches_the_model(
    start_service: StartService, start_worker: StartWorker, model: RawServer
) -> None:
    service = await start_service()
    await start_worker(service.url, engine=f"http:{model.url}")
    address = f"{service.url}{names.EAS_PREFIX}/svc"
    async with aiohttp.ClientSession(headers={"Authorization": TOKEN}) as session:
        target = f"{address}/videox_fun/infer_forward?task_id=t1"
        async with session.post(target, data=b"\x00payload\xff") as put:
            request_id = put.headers[names.REQUEST_ID_HEADER]
        async with session.get(f"{address}/sink?requestId={request_id}&_timeout_=10") as got:
            assert (got.status, await got.read()) == (200, b"\x00payload\xff")
    (request,) = model.received
    assert (request.method, request.target) == ("POST", "/videox_fun/infer_forward?task_id=t1")
    assert request.body == b"\x00payload\xff"


async def predict(address: str, data: bytes) -> tuple[int, bytes, int]:
    """Do as PAI's predictor does: put, poll until it is no longer 204, read lastCode.

    Gives the status of the model, its answer, and how many polls found nothing yet.
    """
    async with aiohttp.ClientSession(headers={"Authorization": TOKEN}) as session:
        async with session.post(address, data=data) as put:
            request_id = put.headers["X-Eas-Queueservice-Request-Id"]
        polls = 0

        async def poll() -> list[dict[str, object]] | None:
            nonlocal polls
            query = {"requestId": request_id, "_raw_": "false"}
            async with session.get(f"{address}/sink", params=query) as answer:
                assert answer.status in (200, 204)
                polls += answer.status == 204
                return list(await answer.json()) if answer.status == 200 else None

        (item,) = await wait_until(poll, "the result is there")
        tags = item["tags"]
        assert isinstance(tags, dict)
        return int(tags.get("lastCode", 200)), base64.b64decode(str(item["data"])), polls


async def test_pais_predictor_gets_an_answer_after_it_has_waited(
    start_service: StartService, start_worker: StartWorker
) -> None:
    service = await start_service()
    await start_worker(service.url, engine="echo", engine_options={"delay_s": 0.3})
    status, data, polls = await predict(f"{service.url}{names.EAS_PREFIX}/svc", b"[{}]")
    assert (status, json.loads(data)) == (200, [{}])
    assert polls > 0


async def test_pais_predictor_gets_the_error_of_a_model_that_raises(
    start_service: StartService, start_worker: StartWorker
) -> None:
    service = await start_service({"name": "svc", "max_delivery": 2})
    await start_worker(service.url, engine="handler:tests.inference_worker.handlers:Broken")
    address = f"{service.url}{names.EAS_PREFIX}/svc"
    status, data, _ = await predict(address, b"x")
    assert status == 500
    assert data
