"""The control loop at work, with real workers: from zero to the maximum, and back to zero."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from client_sdk import AsyncQueueClient
from deploy.admin import AdminApi
from deploy.autoscaling.driver import Fleet
from deploy.autoscaling.loop import Loop, LoopOptions
from deploy.autoscaling.scale_api import ScaleApi
from deploy.autoscaling.scaler import steady_clock
from deploy.autoscaling.settings import read_autoscaler
from tests.conftest import StartService, StartWorker
from tests.deploy.autoscaling.process_driver import ProcessDriver
from tests.running import ADMIN_TOKEN, TOKEN, QueueServiceProcess
from tests.waiting import wait_until
from tests.windows import closed_now

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

MOST = 3
SETTINGS = read_autoscaler(
    {
        "min": 0,
        "max": MOST,
        "behavior": {
            "scaleDown": {"stabilizationWindowSeconds": 2},
            "onZero": {"scaleDownGracePeriodSeconds": 4},
        },
    }
)
OPTIONS = LoopOptions(settings=SETTINGS, interval_s=0.2, lease_s=2.0, list_every_s=0.5)


@asynccontextmanager
async def looping(
    service: QueueServiceProcess, driver: ProcessDriver, options: LoopOptions = OPTIONS
) -> AsyncIterator[list[str]]:
    """Run a loop; give what it says."""
    said: list[str] = []
    async with ScaleApi(service.url, ADMIN_TOKEN) as api:
        task = asyncio.create_task(Loop(api, driver, options=options, say=said.append).run())
        try:
            yield said
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def results(client: AsyncQueueClient, count: int) -> list[bytes]:
    found: list[bytes] = []

    async def are_all() -> bool:
        found.extend(frame.data for frame in await client.sink.get(length=100))
        return len(found) >= count

    await wait_until(are_all, f"{count} results are there", 120)
    return found


async def test_a_service_grows_from_zero_to_its_most_and_shrinks_to_zero(
    start_service: StartService, start_worker: StartWorker
) -> None:
    # With one attempt only, an attempt that scaling has cost would be an error result.
    service = await start_service({"name": "svc", "max_delivery": 1})
    driver = ProcessDriver(
        start_worker, service.url, engine_options={"delay_s": 0.2}, worker_threads=1, grace_s=0.01
    )
    async with (
        looping(service, driver) as said,
        AsyncQueueClient(service.url, "svc", token=TOKEN) as client,
    ):
        await client.put(b"first")
        assert await results(client, 1) == [b"first"]
        assert len(driver.workers) == 1, said
        for number in range(100):
            await client.put(b"%d" % number)
        await wait_until(lambda: driver.most == MOST, "it has grown to the most", 60)
        assert sorted(await results(client, 100)) == sorted(b"%d" % n for n in range(100))
        await wait_until(lambda: len(driver.running) == 1, "one worker is left", 60)
        await wait_until(lambda: not driver.running, "no worker is left", 60)
        assert driver.most == MOST
        assert any("no worker" in sentence for sentence in said), said
        assert any("asked to leave" in sentence for sentence in said), said
        driver.assert_nobody_was_hurt()
        assert await client.sink.count() == 0

        # And it wakes again.
        await client.put(b"again")
        assert await results(client, 1) == [b"again"]


@pytest.mark.parametrize("why", ["paused", "windows"])
async def test_a_service_that_delivers_nothing_starts_no_worker(
    start_service: StartService, start_worker: StartWorker, why: str
) -> None:
    service = await start_service()
    admin = AdminApi(service.url, ADMIN_TOKEN)
    made: dict[str, object] = {"token": TOKEN}
    if why == "windows":
        made["windows"] = closed_now()
    await admin.ask_async("PUT", "/v1/services/shut", made)
    if why == "paused":
        await admin.ask_async("POST", "/v1/services/shut/pause")
    driver = ProcessDriver(start_worker, service.url)
    async with (
        looping(service, driver),
        ScaleApi(service.url, ADMIN_TOKEN) as api,
        AsyncQueueClient(service.url, "shut", token=TOKEN) as client,
    ):
        for _ in range(30):
            await client.put(b"waits")

        async def has_decided() -> bool:
            figures = await api.figures("shut")
            assert not figures["wanted"], figures
            return bool(figures["waiting"] == 30 and figures["wanted"] == 0)

        await wait_until(has_decided, "the autoscaler has decided")
        # Another service is decided about as often: this one had its chances.
        async with AsyncQueueClient(service.url, "svc", token=TOKEN) as other:
            await other.put(b"x")
            assert await results(other, 1) == [b"x"]
        assert await has_decided()
        assert len(driver.workers) == 1

        if why == "paused":
            await admin.ask_async("POST", "/v1/services/shut/resume")
        else:
            await admin.ask_async("PUT", "/v1/services/shut", {"token": TOKEN})
        assert len(await results(client, 30)) == 30
    await admin.ask_async("DELETE", "/v1/services/shut")


async def test_jobs_wait_while_the_driver_fails_and_it_recovers_by_itself(
    start_service: StartService, start_worker: StartWorker
) -> None:
    service = await start_service()
    driver = ProcessDriver(start_worker, service.url)
    driver.broken = "no quota left"
    async with (
        looping(service, driver) as said,
        ScaleApi(service.url, ADMIN_TOKEN) as api,
        AsyncQueueClient(service.url, "svc", token=TOKEN) as client,
    ):
        await client.put(b"patient")

        async def is_shown() -> bool:
            return bool((await api.figures("svc"))["driver_error"] == "no quota left")

        await wait_until(is_shown, "the reason is shown")
        assert (await api.figures("svc"))["wanted"] == 1
        driver.broken = ""
        assert await results(client, 1) == [b"patient"]

        async def is_gone() -> bool:
            return (await api.figures("svc"))["driver_error"] is None

        await wait_until(is_gone, "the reason is gone")
    assert said.count("svc: the driver failed, and jobs wait: no quota left") == 1


async def test_a_driver_that_takes_longer_than_the_lease_keeps_it(
    start_service: StartService, start_worker: StartWorker
) -> None:
    service = await start_service()
    driver = ProcessDriver(start_worker, service.url)
    options = replace(OPTIONS, lease_s=1.0)
    driver.pause_s = 3.0
    async with (
        looping(service, driver, options) as first,
        AsyncQueueClient(service.url, "svc", token=TOKEN) as client,
    ):
        await wait_until(lambda: any("from now on" in one for one in first), "it leads")
        async with looping(service, driver, options) as second:
            await client.put(b"slow")
            assert await results(client, 1) == [b"slow"]
            assert not any("from now on" in one for one in second)
    assert len(driver.workers) == 1


class SlowToLookDriver(ProcessDriver):
    """A look at what runs takes until that has connected."""

    async def look(self, service: str) -> Fleet:
        fleet = await super().look(service)
        async with ScaleApi(self._url, ADMIN_TOKEN) as api:

            async def have_connected() -> bool:
                return set(fleet.started or ()) <= await api.connected(service)

            await wait_until(have_connected, "what runs has connected")
        return fleet


async def test_a_worker_that_connects_during_a_look_is_not_started_twice(
    start_service: StartService, start_worker: StartWorker
) -> None:
    service = await start_service()
    driver = SlowToLookDriver(start_worker, service.url, engine_options={"delay_s": 2})
    async with (
        looping(service, driver, replace(OPTIONS, interval_s=0.01)),
        AsyncQueueClient(service.url, "svc", token=TOKEN) as client,
    ):
        await client.put(b"one")
        assert await results(client, 1) == [b"one"]
    assert len(driver.workers) == 1


class FailingDriver(ProcessDriver):
    """Its first workers end at once with an error, as with a wrong setting."""

    failing = 2

    async def look(self, service: str) -> Fleet:
        failed = [w for w in self.workers if w.process is not None and w.process.poll() == 1]
        why = f"worker {len(failed)} ended with 1" if failed and not self.running else ""
        return replace(await super().look(service), failed=why)

    async def start(self, service: str, *, current: int, wanted: int) -> None:
        self._settings = {"engine": "nonsense:"} if len(self.workers) < self.failing else {}
        await super().start(service, current=current, wanted=wanted)


async def test_workers_that_end_with_an_error_are_started_again_with_pauses(
    start_service: StartService, start_worker: StartWorker
) -> None:
    service = await start_service()
    driver = FailingDriver(start_worker, service.url)
    async with (
        looping(service, driver) as said,
        AsyncQueueClient(service.url, "svc", token=TOKEN) as client,
    ):
        await client.put(b"patient")
        assert await results(client, 1) == [b"patient"]
    assert len(driver.workers) == driver.failing + 1
    assert sum("the driver failed" in one for one in said) >= 1


async def test_of_two_loops_one_decides_and_the_other_takes_over(
    start_service: StartService, start_worker: StartWorker
) -> None:
    service = await start_service()
    driver = ProcessDriver(start_worker, service.url)
    async with AsyncQueueClient(service.url, "svc", token=TOKEN) as client:
        async with looping(service, driver) as first:
            await wait_until(lambda: any("from now on" in one for one in first), "it leads")
            async with looping(service, driver) as second:
                await wait_until(lambda: any("another" in one for one in second), "it waits")
                await client.put(b"a")
                assert await results(client, 1) == [b"a"]
                assert len(driver.workers) == 1
        # The first gave its lease back, as the second does; a new one need not wait.
        async with looping(service, driver) as third:
            await wait_until(lambda: any("from now on" in one for one in third), "it leads")
            await wait_until(lambda: not driver.running, "no worker is left", 60)
    driver.assert_nobody_was_hurt()


async def test_a_loop_survives_restarts_of_the_queue_service(
    start_service: StartService, start_worker: StartWorker
) -> None:
    service = await start_service()
    driver = ProcessDriver(start_worker, service.url)
    async with (
        looping(service, driver) as said,
        AsyncQueueClient(service.url, "svc", token=TOKEN) as client,
    ):
        await wait_until(lambda: any("from now on" in one for one in said), "it leads")
        service.kill()
        await wait_until(lambda: any("cannot" in one for one in said), "it notices", 60)
        await service.start()
        await client.put(b"after")
        assert await results(client, 1) == [b"after"]
    driver.assert_nobody_was_hurt()


async def test_a_clock_that_is_set_back_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = steady_clock()
    began_s = clock()
    assert abs(began_s - time.time()) < 60
    monkeypatch.setattr(time, "time", lambda: began_s - 86_400)
    assert clock() >= began_s
    monkeypatch.setattr(time, "time", lambda: began_s + 86_400)
    assert clock() < began_s + 3600
