"""Many inputs through `map`: bounded, as they come or in order, and none twice."""

import asyncio
import gc
import tracemalloc
from collections.abc import AsyncIterator, Iterator

import pytest

from client_sdk import (
    AsyncQueueClient,
    ConnectionFailed,
    JobInput,
    Mapped,
    NoResult,
    QueueClient,
    RetryPolicy,
    Unauthorized,
)
from client_sdk.errors import BadParameter, IdInUse
from tests.conftest import StartWorker
from tests.queue_service.web.jobs.api import JobsApi
from tests.running import TOKEN, free_port
from tests.waiting import wait_until

pytestmark = pytest.mark.leaves_entries

FIVE = [f"input {number}" for number in range(5)]


@pytest.fixture
async def client(api: JobsApi) -> AsyncIterator[AsyncQueueClient]:
    async with AsyncQueueClient(api.url, api.service, token=TOKEN) as opened:
        yield opened


async def ids(api: JobsApi) -> list[str]:
    """The ids of all jobs that the service knows of."""
    return [job["id"] for job in (await api.call("GET")).json["jobs"]]


async def test_every_input_gives_a_result_and_nothing_is_left_in_the_service(
    api: JobsApi, client: AsyncQueueClient, start_worker: StartWorker
) -> None:
    await start_worker(api.url, api.service, engine_options={"delay_s": [0, 0.02]}, window=8)
    inputs = [f"input {number}" for number in range(150)]
    found = [mapped async for mapped in client.jobs.map(inputs, in_flight=16)]
    assert sorted(mapped.number for mapped in found) == list(range(150))
    assert all(mapped.data == inputs[mapped.number].encode() for mapped in found)
    assert all(mapped.input == inputs[mapped.number] for mapped in found)
    assert await ids(api) == []


async def test_results_come_in_order_when_they_are_wanted_so(
    api: JobsApi, client: AsyncQueueClient, start_worker: StartWorker
) -> None:
    await start_worker(api.url, api.service, engine_options={"delay_s": [0, 0.05]}, window=8)

    async def endless() -> AsyncIterator[str]:
        for number in range(40):
            yield str(number)

    found = [m.data async for m in client.jobs.map(endless(), in_flight=8, ordered=True)]
    assert found == [str(number).encode() for number in range(40)]


async def test_no_more_inputs_are_taken_than_may_be_in_flight(
    api: JobsApi, client: AsyncQueueClient, start_worker: StartWorker
) -> None:
    taken: list[int] = []

    def inputs() -> Iterator[str]:
        for number in range(1000):
            taken.append(number)
            yield str(number)

    mapped = client.jobs.map(inputs(), in_flight=3)
    first = asyncio.create_task(anext(mapped))
    await wait_until(lambda: len(taken) >= 4, "the inputs are asked for")
    await start_worker(api.url, api.service)
    assert (await first).error is None
    # Three were begun, one waits for room.
    assert len(taken) == 4
    await mapped.aclose()
    await wait_until(lambda: len(taken) <= 5, "nobody asks for more")
    assert all([(await api.job(one))["state"] != "queued" for one in await ids(api)])


async def test_a_result_is_yielded_while_the_next_input_is_not_there_yet(
    api: JobsApi, client: AsyncQueueClient, start_worker: StartWorker
) -> None:
    await start_worker(api.url, api.service)
    more = asyncio.Event()

    async def inputs() -> AsyncIterator[bytes]:
        yield b"first"
        await more.wait()
        yield b"second"

    found: list[Mapped] = []
    async for mapped in client.jobs.map(inputs()):
        found.append(mapped)
        more.set()
    assert [mapped.data for mapped in found] == [b"first", b"second"]


async def test_a_failure_is_a_value_or_is_raised(
    api: JobsApi, client: AsyncQueueClient, start_worker: StartWorker
) -> None:
    failing = {"fail_every": 3, "fail_retryable": False}
    await start_worker(api.url, api.service, engine_options=failing, window=1)
    found = [m async for m in client.jobs.map(FIVE, in_flight=1, failures="return")]
    assert [type(mapped.error) for mapped in found].count(NoResult) == 1
    assert [mapped.data for mapped in found if mapped.error] == [b""]
    with pytest.raises(NoResult, match="multiple of 3"):
        async for _ in client.jobs.map(FIVE, in_flight=1):
            pass


async def test_what_is_open_is_canceled_when_it_is_left_early_or_goes_on(
    api: JobsApi, client: AsyncQueueClient
) -> None:
    for cancel, state in ((True, "canceled"), (False, "queued")):
        mapping = client.jobs.map(FIVE, cancel=cancel, run_id=state)
        waiting = asyncio.create_task(anext(mapping))

        async def all_there(run_id: str = state) -> bool:
            return len([one for one in await ids(api) if one.startswith(run_id)]) == 5

        await wait_until(all_there, "all are put")
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await mapping.aclose()
        assert {await api.state(f"{state}-{number}") for number in range(5)} == {state}


async def test_the_same_run_again_puts_nothing_twice(
    api: JobsApi, client: AsyncQueueClient, start_worker: StartWorker
) -> None:
    await start_worker(api.url, api.service)
    for _ in range(2):
        found = [m async for m in client.jobs.map(FIVE, run_id="run", keep=True, ordered=True)]
        assert [m.data.decode() for m in found] == FIVE
    assert sorted(await ids(api)) == [f"run-{number}" for number in range(5)]
    own = [JobInput("a", id="mine", options={"priority": 1}), JobInput("b", id="mine")]
    found = [m async for m in client.jobs.map(own, ordered=True, failures="return", in_flight=1)]
    assert found[0].error is None
    assert isinstance(found[1].error, IdInUse) or found[1].error is None


async def test_a_full_queue_is_waited_for_and_a_service_that_never_answers_is_not(
    api: JobsApi, client: AsyncQueueClient
) -> None:
    retry = RetryPolicy(retries=1, first_delay_s=0.01)
    for url, token, expected in (
        (f"http://127.0.0.1:{free_port()}", TOKEN, ConnectionFailed),
        (api.url, "wrong", Unauthorized),
    ):
        async with AsyncQueueClient(url, api.service, token=token, retry=retry) as wrong:
            with pytest.raises(expected):
                async for _ in wrong.jobs.map(FIVE, failures="return"):
                    pass
    with pytest.raises(BadParameter, match="in_flight"):
        await anext(client.jobs.map(FIVE, in_flight=0))
    with pytest.raises(BadParameter, match="got int"):
        await anext(client.jobs.map([1]))  # type: ignore[list-item]


async def test_the_blocking_client_maps_too(api: JobsApi, start_worker: StartWorker) -> None:
    await start_worker(api.url, api.service, engine_options={"delay_s": [0, 0.02]}, window=8)

    def use() -> tuple[list[str], list[str]]:
        with QueueClient(api.url, api.service, token=TOKEN) as client:
            as_they_come = [m.data.decode() for m in client.jobs.map(iter(FIVE * 8), in_flight=4)]
            ordered = [m.data.decode() for m in client.jobs.map(FIVE, ordered=True)]
            for _ in client.jobs.map(FIVE, in_flight=2):
                break
            return as_they_come, ordered

    as_they_come, ordered = await asyncio.to_thread(use)
    assert sorted(as_they_come) == sorted(FIVE * 8)
    assert ordered == FIVE


async def test_memory_does_not_grow_with_the_number_of_inputs(
    api: JobsApi, client: AsyncQueueClient, start_worker: StartWorker
) -> None:
    await start_worker(api.url, api.service)

    async def peak(count: int) -> int:
        gc.collect()
        tracemalloc.reset_peak()
        inputs = (f"{number:04000d}" for number in range(count))
        async for mapped in client.jobs.map(inputs, in_flight=16):
            assert len(mapped.data) == 4000
        return tracemalloc.get_traced_memory()[1]

    tracemalloc.start()
    try:
        await peak(50)
        few, many = await peak(50), await peak(350)
    finally:
        tracemalloc.stop()
    # 300 more inputs and results of 4 kB would be 2.4 MB.
    assert many - few < 1_000_000
