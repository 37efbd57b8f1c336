"""The asyncio client against the real queue service: each verb does what it says."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from client_sdk import AsyncQueueClient, RetryPolicy, errors
from client_sdk.calls import Receipt
from client_sdk.wire.worker import Completion, Delivery, Rejection, Result
from client_sdk.work import WorkConnection
from tests.conftest import Serve, StartService
from tests.running import TOKEN
from tests.waiting import wait_until


@pytest.fixture
async def client(url: str) -> AsyncIterator[AsyncQueueClient]:
    async with AsyncQueueClient(url, "svc", token=TOKEN, uid="u1") as client:
        yield client


async def test_what_is_put_is_got_once(client: AsyncQueueClient) -> None:
    receipt = await client.put(b"\x00\xff", tags={"käse": "a b&c"}, request_id="r-1")
    assert receipt == Receipt(receipt.index, "r-1")
    frames = await client.get()
    assert [(frame.index, frame.data) for frame in frames] == [(receipt.index, b"\x00\xff")]
    assert frames[0].tags == {"käse": "a b&c", "requestId": "r-1"}
    assert await client.get() == []


async def test_one_request_id_is_one_entry_in_the_input_and_many_in_the_sink(
    client: AsyncQueueClient,
) -> None:
    first = await client.put(b"question", request_id="r")
    assert await client.put(b"question", request_id="r") == first
    assert await client.count() == 1
    for part in (b"1", b"2"):
        await client.sink.put(part, request_id="r")
    frames = await client.sink.get(request_id="r", length=5)
    assert [frame.data for frame in frames] == [b"1", b"2"]
    await client.delete(first.index)


async def test_a_get_waits_for_what_is_put_later(client: AsyncQueueClient) -> None:
    waiting = asyncio.create_task(client.get(timeout_s=5.0))
    receipt = await client.put(b"late")
    assert [frame.index for frame in await waiting] == [receipt.index]


async def test_a_get_finds_by_request_id_tags_and_index(client: AsyncQueueClient) -> None:
    receipts = [await client.put(b"", tags={"n": str(n)}) for n in range(3)]
    (by_id,) = await client.get(request_id=receipts[1].request_id, auto_delete=False)
    (by_tag,) = await client.get(tags={"n": "2"}, auto_delete=False)
    from_index = await client.get(index=receipts[1].index, length=9, auto_delete=False)
    assert by_id.index == receipts[1].index
    assert by_tag.index == receipts[2].index
    assert [frame.index for frame in from_index] == [r.index for r in receipts[1:]]
    await client.truncate(receipts[2].index)
    assert await client.count() == 1
    await client.delete(receipts[2].index)


async def test_a_watch_is_bounded_by_its_window_until_something_is_committed(
    client: AsyncQueueClient,
) -> None:
    for number in range(4):
        await client.put(str(number))
    async with client.watch(window=2) as watch:
        first, second = await anext(watch), await anext(watch)
        third = asyncio.ensure_future(watch.__anext__())
        position = await client.search(first.index)
        assert position is not None
        assert position.pending
        assert not third.done()
        await client.commit([first, second])
        assert (await third).data == b"2"
        assert (await anext(watch)).data == b"3"
        await client.reject(await third, code="Broken")
        assert (await anext(watch)).data == b"2"
        await client.commit([(await third).index, (await third).index + 1])
    assert await client.count() == 0


async def test_search_knows_what_waits_and_what_is_gone(client: AsyncQueueClient) -> None:
    receipts = [await client.put(b"") for _ in range(3)]
    position = await client.search(receipts[2].index)
    assert position is not None
    assert (position.pending, position.waiting) == (False, 2)
    await client.delete([receipt.index for receipt in receipts])
    assert await client.search(receipts[2].index) is None


async def test_attributes_tell_the_limits_and_the_length(client: AsyncQueueClient) -> None:
    attributes = await client.attributes()
    assert attributes["stream.length"] == "0"
    assert int(attributes["meta.maxPayloadBytes"]) > 0


async def test_refusals_are_typed(client: AsyncQueueClient, url: str) -> None:
    with pytest.raises(errors.FrameTooBig) as too_big:
        await client.put(bytes(9000))
    assert too_big.value.status == 413
    assert "8192" in too_big.value.sentence
    async with AsyncQueueClient(url, "svc", token="wrong") as stranger:
        with pytest.raises(errors.Unauthorized):
            await stranger.put(b"")
        with pytest.raises(errors.Unauthorized):
            await anext(stranger.watch())
    async with AsyncQueueClient(url, "nobody", token=TOKEN) as lost:
        with pytest.raises(errors.NoSuchService):
            await lost.get()
        with pytest.raises(errors.NoSuchService):
            await anext(lost.watch())
    with pytest.raises(errors.BadParameter):
        await client.get(length=0)
    with pytest.raises(errors.BadParameter):
        await anext(client.watch(window=0))


async def test_a_full_queue_is_typed_too(serve: Serve) -> None:
    url = await serve({"name": "svc", "input": {"max_length": 1}})
    async with AsyncQueueClient(url, "svc", token=TOKEN) as client:
        receipt = await client.put(b"")
        with pytest.raises(errors.QueueFull):
            await client.put(b"")
        await client.delete(receipt.index)


async def test_the_second_watch_of_a_user_takes_the_first_one_over(
    client: AsyncQueueClient,
) -> None:
    first, second = client.watch(), client.watch()
    receipt = await client.put(b"")
    held = await anext(first)
    again = await anext(second)
    assert held.index == again.index == receipt.index
    with pytest.raises(errors.TakenOver):
        await anext(first)
    await client.commit(again)
    await second.close()


async def test_a_workers_connection_turns_an_input_entry_into_a_result(
    client: AsyncQueueClient, url: str
) -> None:
    receipt = await client.put(b"2 + 2", tags={"a": "b"}, path="v1/sum", content_type="text/plain")
    async with WorkConnection(url, "svc", token=TOKEN, uid="w1", window=2) as connection:
        delivery = await anext(connection)
        assert isinstance(delivery, Delivery)
        assert (delivery.index, delivery.attempt) == (receipt.index, 1)
        assert (delivery.data, delivery.request_id) == (b"2 + 2", receipt.request_id)
        assert (delivery.path, delivery.content_type) == ("v1/sum", "text/plain")
        outcome = await connection.reject(Rejection(delivery.index, 1, "Broken", "try again"))
        assert outcome.accepted
        second = await anext(connection)
        assert isinstance(second, Delivery)
        assert second.attempt == 2
        assert (await connection.complete(Completion(second.index, 2, Result(b"4")))).accepted
    (frame,) = await client.sink.get(request_id=receipt.request_id)
    assert (frame.data, frame.tags["a"]) == (b"4", "b")
    assert await client.count() == 0


async def test_both_connections_outlive_a_restart_of_the_queue_service(
    start_service: StartService,
) -> None:
    service = await start_service()
    patient = RetryPolicy(retries=50, most_delay_s=0.5)
    async with (
        AsyncQueueClient(service.url, "svc", token=TOKEN, retry=patient) as client,
        WorkConnection(service.url, "svc", token=TOKEN, uid="w1", window=1) as connection,
        client.sink.watch() as watch,
    ):
        receipt = await client.put(b"before")
        delivery = await anext(connection)
        assert isinstance(delivery, Delivery)
        reading = asyncio.ensure_future(watch.__anext__())

        service.kill()
        done = asyncio.ensure_future(
            connection.complete(Completion(delivery.index, 1, Result(b"after")))
        )
        await wait_until(lambda: not connection.statistics().connected, "the worker noticed")
        await service.start()

        assert (await done).accepted
        async with asyncio.timeout(30):
            frame = await reading
        assert (frame.data, frame.tags["requestId"]) == (b"after", receipt.request_id)
        await client.sink.commit(frame)
