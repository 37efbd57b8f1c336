"""Autoscalers that lose their lease, or are killed in a scale-in; another one takes over."""

import asyncio
from collections.abc import Sequence

import pytest

from client_sdk import AsyncQueueClient
from deploy.autoscaling import starting
from deploy.autoscaling.driver import Fleet, Leaver
from deploy.autoscaling.scale_api import ScaleApi
from deploy.autoscaling.scaler import Scaler
from deploy.autoscaling.settings import read_autoscaler
from tests.conftest import StartService, StartWorker
from tests.deploy.autoscaling.process_driver import ProcessDriver
from tests.running import ADMIN_TOKEN, TOKEN
from tests.waiting import let_pass, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SETTINGS = read_autoscaler({"min": 0, "max": 3})


class LosingDriver(ProcessDriver):
    """Another autoscaler takes the lease while this one looks for workers."""

    async def look(self, service: str) -> Fleet:
        async with ScaleApi(self._url, ADMIN_TOKEN) as api:
            await api.give_back(service, "first")
            await api.report(service, "second", lease_s=60, fields={})
        # Longer than the lease that this one believes to have.
        await let_pass(1.0)
        return await super().look(service)


@pytest.mark.leaves_entries
async def test_an_autoscaler_that_lost_its_lease_while_it_looked_does_nothing(
    start_service: StartService, start_worker: StartWorker
) -> None:
    service = await start_service({"name": "svc"})
    driver = LosingDriver(start_worker, service.url)
    said: list[str] = []
    async with (
        ScaleApi(service.url, ADMIN_TOKEN) as api,
        AsyncQueueClient(service.url, "svc", token=TOKEN) as client,
    ):
        await client.put(b"job")
        scaler = Scaler(
            service="svc",
            api=api,
            driver=driver,
            holder="first",
            lease_s=0.5,
            say=said.append,
            default=SETTINGS,
        )
        await scaler.tick()
        assert not driver.workers
        await scaler.tick()
        assert not driver.workers
    assert said[1:] == ["svc: another autoscaler decides: second"]


class HangingDriver(ProcessDriver):
    """It cannot tell what runs, and does not come back from a scale-in."""

    async def look(self, service: str) -> Fleet:
        return Fleet()

    async def note_leaving(
        self, service: str, leaving: Sequence[Leaver], *, current: int, wanted: int
    ) -> None:
        await asyncio.Event().wait()


async def test_after_a_takeover_in_a_scale_in_nobody_waits_for_those_that_left(
    start_service: StartService, start_worker: StartWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Who waits for a worker that left waits longer than this test.
    monkeypatch.setattr(starting, "LONGEST_AWAY_S", 3600.0)
    service = await start_service()
    driver = HangingDriver(start_worker, service.url)
    said: list[str] = []
    async with ScaleApi(service.url, ADMIN_TOKEN) as api:

        def scaler(holder: str, workers: int) -> Scaler:
            settings = read_autoscaler(
                {
                    "min": workers,
                    "max": workers,
                    "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
                }
            )
            return Scaler(
                service="svc",
                api=api,
                driver=driver,
                holder=holder,
                lease_s=0.5,
                say=said.append,
                default=settings,
            )

        async def ready(workers: int) -> bool:
            found = (await api.figures("svc"))["workers"]
            return (found["ready"], found["draining"]) == (workers, 0)

        first = scaler("first", 2)
        await first.tick()
        await wait_until(lambda: ready(2), "two workers are connected", 60)
        await first.tick()
        first.default = scaler("first", 1).default
        ending = asyncio.create_task(first.tick())
        await wait_until(lambda: ready(1), "one has left", 60)
        # As if it was killed: it tells nobody.
        ending.cancel()
        await asyncio.gather(ending, return_exceptions=True)

        second = scaler("second", 2)

        async def started_again() -> bool:
            await second.tick()
            return len(driver.workers) == 3

        await wait_until(started_again, "it starts the one that is wanted", 60)
        await wait_until(lambda: ready(2), "two workers are connected", 60)
    assert "svc: 1 to 2 workers: " in "".join(said)
