"""The conformance checklist of the EAS protocol, items 23, 24, 27, 29 and 31: the service.

Driven by Alibaba's own SDK, and by plain HTTP where the item is about the wire.
"""

import base64
import json
from typing import Any

import aiohttp
import pytest

from client_sdk.wire import names
from deploy.local.redis_server import RedisServer
from tests.compatibility.conftest import Pair
from tests.compatibility.eas_sdk import EasError, EasSdk
from tests.conftest import StartService, StartWorker
from tests.running import TOKEN, QueueServiceProcess
from tests.waiting import wait_until, wait_until_blocking


def test_item_23_a_wrong_token_is_refused_and_harms_nobody(pair: Pair) -> None:
    right, wrong = pair.input(), pair.input(token="wrong")
    with pytest.raises(EasError) as refused:
        wrong.put("x")
    assert (refused.value.name, refused.value.code) == ("PredictException", 401)

    watch = wrong.watch(0, 5)
    with pytest.raises(EasError) as refused:
        wait_until_blocking(lambda: watch.frames, "the watch is refused")
    assert (refused.value.name, refused.value.code) == ("WebSocketBadStatusException", 401)

    assert right.length == 0
    right.put("x")
    assert [frame.text for frame in right.get()] == ["x"]
    # The clean-up of the bench asks with the right token, through clients of its own.


def test_item_24_search_tells_who_is_before_an_entry_and_who_holds_it(pair: Pair) -> None:
    queue = pair.input(uid="u1", gid="team")
    indexes = [queue.put(str(number))[0] for number in range(3)]
    found = queue.search(indexes[2])
    assert set(found) == {"ConsumerId", "IsPending", "WaitCount"}
    assert (found["IsPending"], found["WaitCount"]) == (False, 2)

    queue.watch(0, 1).wait_for(1)
    held = queue.search(indexes[0])
    assert (held["IsPending"], held["WaitCount"]) == (True, 0)
    assert "u1" in held["ConsumerId"]
    waiting = queue.search(indexes[2])
    assert (waiting["IsPending"], waiting["WaitCount"]) == (False, 1)
    assert queue.search(999_999) == {}


async def test_item_27_a_result_carries_the_request_id_and_tags_of_its_input(
    sdk: EasSdk, service: QueueServiceProcess, start_worker: StartWorker
) -> None:
    await start_worker(service.url, engine_options={"answer": '[{"a": 1, "b": 2}]'})
    queue, sink = sdk.client(service.url, "svc"), sdk.client(service.url, "svc/sink")
    watch = sink.watch(0, 5)
    try:
        _, request_id = queue.put("[{}]", {"task_id": "txt2img_0"})
        (frame,) = watch.wait_for(1)
        assert json.loads(frame.data) == [{"a": 1, "b": 2}]
        assert frame.tags == {"task_id": "txt2img_0", "requestId": request_id}
        assert queue.length == 0
        sink.commit(frame.index)
        assert sink.length == 0
    finally:
        watch.close()


async def test_item_29_a_result_is_polled_for_by_its_request_id_over_plain_http(
    service: QueueServiceProcess, start_worker: StartWorker
) -> None:
    async with _session() as session:
        address = f"{service.url}{names.EAS_PREFIX}/svc"
        async with session.post(f"{address}?k=v", data=b"question") as answer:
            request_id = answer.headers[names.REQUEST_ID_HEADER]
        poll = {names.REQUEST_ID_TAG: request_id, names.RAW: "false"}
        async with session.get(f"{address}/sink", params=poll) as answer:
            assert (answer.status, await answer.read()) == (204, b"")

        await start_worker(service.url)

        async def result() -> Any:
            async with session.get(f"{address}/sink", params=poll) as answer:
                return await answer.json() if answer.status == 200 else None

        (frame,) = await wait_until(result, "the result is in the sink")
        assert set(frame) == {"index", "tags", "data"}
        assert base64.b64decode(frame["data"], validate=True) == b"question"
        assert frame["tags"] == {"k": "v", "requestId": request_id}


async def test_item_31_every_success_is_200_except_the_empty_get(
    service: QueueServiceProcess,
) -> None:
    async with _session() as session:

        async def ask(method: str, query: str, body: bytes | None = None) -> int:
            address = f"{service.url}{names.EAS_PREFIX}/svc?{query}"
            async with session.request(method, address, data=body) as answer:
                await answer.read()
                return answer.status

        assert await ask("GET", "_timeout_=0s&_raw_=false") == 204
        assert await ask("POST", "tag=1", b"a") == 200
        assert await ask("POST", "tag=2", b"") == 200
        assert await ask("GET", "_attrs_=true") == 200
        assert await ask("GET", "_count_=true") == 200
        assert await ask("GET", "_search_=true&_index_=1") == 200
        assert await ask("GET", "_raw_=false&_auto_delete_=false") == 200
        assert await ask("GET", "_raw_=true&_auto_delete_=true") == 200
        assert await ask("PUT", "_indexes_=1%2C2") == 200
        assert await ask("PUT", "_indexes_=1%2C2&_negative_=true") == 200
        assert await ask("DELETE", "_indexes_=1%2C2") == 200
        assert await ask("DELETE", "_index_=100&_trunc_=true") == 200


@pytest.mark.leaves_entries
async def test_item_31_no_refusal_asks_the_client_to_come_again_later(
    start_service: StartService, tmp_path_factory: pytest.TempPathFactory
) -> None:
    # The SDK's HTTP library obeys Retry-After by itself, six times for each of its own six
    # attempts: one refused get would become 36 requests.
    redis = RedisServer(tmp_path_factory.mktemp("redis-to-lose"))
    await redis.start()
    try:
        service = await start_service(
            {"name": "svc", "input": {"max_length": 1}}, redis_url=redis.url, store_timeout_s=1.0
        )
        address = f"{service.url}{names.EAS_PREFIX}"
        async with _session() as session:

            async def refusal(method: str, path: str, **options: Any) -> int:
                async with session.request(method, f"{address}/{path}", **options) as answer:
                    assert "Retry-After" not in answer.headers
                    assert names.ERROR_CODE_HEADER in answer.headers
                    return answer.status

            stranger = {"Authorization": "wrong"}
            async with session.post(f"{address}/svc", data=b"first") as answer:
                assert answer.status == 200
            assert await refusal("POST", "svc", data=b"one too many") == 429
            assert await refusal("POST", "svc", data=b"x", headers=stranger) == 401
            assert await refusal("POST", "unknown", data=b"x") == 404
            await redis.kill()
            assert await refusal("GET", "svc?_attrs_=true") == 503
            assert await refusal("POST", "svc", data=b"x") == 503
    finally:
        await redis.stop()


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(headers={"Authorization": TOKEN})
