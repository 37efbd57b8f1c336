"""The workers of one service of local mode, with several changes at once."""

import asyncio
import sys
from collections.abc import AsyncIterator, Collection

import pytest

from deploy.local.child import Child
from deploy.local.keeper import Keeper
from deploy.local.service import LocalService
from deploy.local.wish import Wish
from tests.waiting import let_pass

WAITS = "import signal; signal.pause()"


def keeper(name: str, _: Wish) -> Keeper:
    async def start() -> Child:
        return Child.start(name, [sys.executable, "-c", WAITS])

    return Keeper(name, start, on_event=lambda _: None, grace_s=5.0)


@pytest.fixture
async def service() -> AsyncIterator[LocalService]:
    async def ready(_: Wish) -> Collection[int]:
        return [one.pid for one in made.instances if one.pid is not None]

    made = LocalService(Wish(name="svc", instances=0), keeper, ready, worker_name="svc")
    yield made
    await made.stop()


async def test_an_autoscaler_and_an_operator_who_scale_while_a_restart_runs_start_none_twice(
    service: LocalService,
) -> None:
    service.wish = service.wish.model_copy(update={"instances": 1})
    await service.fit()
    restart = asyncio.create_task(service.replace())
    # Its first step takes the old worker from the list.
    await let_pass(0)
    assert not service.instances
    # The operator wants three, and the autoscaler three in place of none; both wait their turn.
    service.wish = service.wish.model_copy(update={"instances": 3})
    await asyncio.gather(service.fit(), service.add(3))
    await restart
    assert len(service.instances) == 3
