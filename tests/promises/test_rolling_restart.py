"""Every replica of the queue service is restarted, one after the other, while everybody works."""

import asyncio
import re
import urllib.request
from collections import Counter

import aiohttp

from client_sdk import AsyncQueueClient, Frame
from client_sdk.wire import names
from tests.conftest import StartService, StartWorker
from tests.running import TOKEN, QueueServiceProcess, WorkerProcess
from tests.waiting import wait_until

#: Replicas, and at each of them what a client has under way when it stops.
REPLICAS = 3
PUTTERS = 4
JOB_S = 0.02
#: Jobs put and not done from which on nothing more is put: their results end the test.
WAITING = 50


class Load:
    """Puts jobs without a pause and reads their results, over every replica."""

    def __init__(self, urls: str) -> None:
        self._urls = urls
        self.put: set[str] = set()
        self.results: dict[str, set[int]] = {}
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._put(number)) for number in range(PUTTERS)]
        self._tasks.append(asyncio.create_task(self._read()))

    async def _put(self, number: int) -> None:
        async with AsyncQueueClient(self._urls, "svc", token=TOKEN) as client:
            while not self._stop.is_set():
                receipt = await client.put(f"job of {number}")
                self.put.add(receipt.request_id)
                await wait_until(self._is_short, "the line is short")

    def _is_short(self) -> bool:
        return len(self.put) - len(self.results) < WAITING

    async def _read(self) -> None:
        async with (
            AsyncQueueClient(self._urls, "svc", token=TOKEN) as client,
            client.sink.watch(window=100) as frames,
        ):
            async for frame in frames:
                self._note(frame)
                await client.sink.commit(frame)

    def _note(self, frame: Frame) -> None:
        self.results.setdefault(frame.tags[names.REQUEST_ID_TAG], set()).add(frame.index)

    async def goes_on(self) -> None:
        """Wait until some more results have come."""
        so_far = len(self.results)
        await wait_until(lambda: len(self.results) > so_far + 20, "results go on coming")

    async def finish(self) -> None:
        """Put no more, and read every result."""
        self._stop.set()
        *putters, reader = self._tasks
        # A client that met an error which it could not recover from raises it here.
        await asyncio.gather(*putters)

        def all_have_come() -> bool:
            assert not reader.done(), reader.exception()
            return self.results.keys() >= self.put

        await wait_until(all_have_come, "every job has its result")
        reader.cancel()
        await asyncio.wait([reader])


def _lost(worker: WorkerProcess) -> float:
    text = urllib.request.urlopen(worker.metrics_url, timeout=60).read().decode()
    found = re.search(r"^penstock_worker_lost_deliveries_total (\S+)$", text, re.MULTILINE)
    assert found
    return float(found[1])


async def _poll(session: aiohttp.ClientSession, replica: QueueServiceProcess) -> int:
    """Wait for something that does not come."""
    query = f"{names.TIMEOUT}=60s&{names.REQUEST_ID_TAG}=never"
    address = f"{replica.url}{names.EAS_PREFIX}/svc/{names.SINK}?{query}"
    async with session.get(address) as answer:
        return answer.status


async def test_a_restart_of_all_replicas_under_load_loses_nothing_and_nobody_sees_an_error(
    start_service: StartService, start_worker: StartWorker
) -> None:
    replicas = [await start_service() for _ in range(REPLICAS)]
    urls = [replica.url for replica in replicas]
    workers = [
        await start_worker(
            ",".join(urls[number:] + urls[:number]), engine_options={"delay_s": JOB_S}
        )
        for number in range(2)
    ]
    load = Load(",".join(urls))
    load.start()
    async with aiohttp.ClientSession(headers={"Authorization": TOKEN}) as session:
        for replica in replicas:
            poll = asyncio.create_task(_poll(session, replica))
            await load.goes_on()
            assert await replica.stop() == 0
            assert await poll == 204, "a poll under way was not answered"
            await replica.start()
    await load.finish()

    assert Counter(map(len, load.results.values())).keys() == {1}, "a job has two results"
    assert load.results.keys() == load.put
    # What they held went with them to the next replica: nothing was taken away or run twice.
    assert [_lost(worker) for worker in workers] == [0, 0]
