"""Every replica is restarted while Alibaba's own client puts and watches through a balancer."""

import asyncio
import threading

from client_sdk.wire import names
from tests.balancer import Balancer
from tests.compatibility.eas_sdk import EasClient, EasSdk
from tests.conftest import StartService, StartWorker
from tests.waiting import wait_until

#: Attempts of the client at one request, as it makes them unless told otherwise.
RETRIES = 5


class Putter(threading.Thread):
    """Puts one job after the other until it is stopped."""

    def __init__(self, queue: EasClient) -> None:
        super().__init__(daemon=True)
        self._queue = queue
        self._stop_it = threading.Event()
        self.put: list[str] = []
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            while not self._stop_it.is_set():
                self.put.append(self._queue.put("x")[1])
        except Exception as error:
            self.error = error

    def stop(self) -> None:
        self._stop_it.set()
        self.join(30)


async def test_a_restart_of_all_replicas_shows_the_eas_client_no_more_than_a_reconnect(
    sdk: EasSdk, start_service: StartService, start_worker: StartWorker
) -> None:
    replicas = [await start_service() for _ in range(2)]
    async with Balancer([replica.port for replica in replicas]).open() as balancer:
        worker = await start_worker(balancer.url)

        def client(path: str) -> EasClient:
            return sdk.client(balancer.url, path, retry_count=RETRIES)

        # The client waits for its answers in threads, because the balancer runs in this one.
        queue = await asyncio.to_thread(client, "svc")
        sink = await asyncio.to_thread(client, "svc/sink")
        watch = await asyncio.to_thread(sink.watch, 0, 10_000)
        putter = Putter(queue)
        putter.start()
        try:

            async def results() -> set[str]:
                frames = await asyncio.to_thread(lambda: watch.frames)
                return {frame.tags[names.REQUEST_ID_TAG] for frame in frames}

            for replica in replicas:
                so_far = len(await results())

                async def goes_on(so_far: int = so_far) -> bool:
                    return len(await results()) > so_far + 20

                await wait_until(goes_on, "results go on coming")
                assert await replica.stop() == 0
                await replica.start()
        finally:
            await asyncio.to_thread(putter.stop)
        assert putter.error is None

        async def all_have_come() -> bool:
            return await results() >= set(putter.put)

        await wait_until(all_have_come, "every job has its result")
        assert await asyncio.to_thread(lambda: watch.connections) <= 1 + len(replicas)
        await asyncio.to_thread(watch.close)
        await asyncio.to_thread(sink.truncate, 2**62)
        # Before the balancer goes, through which it says goodbye.
        assert await worker.stop() == 0
