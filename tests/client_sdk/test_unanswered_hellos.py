"""A worker's own greeting, that took effect late, does not end it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from client_sdk import errors
from client_sdk.backoff import Backoff
from client_sdk.wire.codes import CloseCode
from client_sdk.work import WorkConnection
from tests.client_sdk.peers import WorkPeer, serving
from tests.waiting import wait_until


@asynccontextmanager
async def connected(peer: WorkPeer) -> AsyncIterator[WorkConnection]:
    async with (
        serving(peer.handle) as url,
        WorkConnection(url, "svc", window=3, uid="gpu-1", backoff=Backoff(0.01, 0.05)) as worker,
    ):
        await worker.wait_connected()
        yield worker


async def take_over(peer: WorkPeer) -> None:
    await peer.close(CloseCode.TAKEN_OVER)


async def test_a_greeting_without_an_answer_may_take_over_later_and_the_worker_comes_back() -> None:
    peer = WorkPeer(unwelcome=[CloseCode.STORE_UNAVAILABLE])
    async with connected(peer) as worker:
        assert len(peer.hellos) == 2
        await take_over(peer)
        await wait_until(lambda: worker.statistics().connections == 2, "it connects again")


async def test_a_greeting_without_an_answer_explains_one_takeover_and_not_the_next() -> None:
    peer = WorkPeer(unwelcome=[CloseCode.STORE_UNAVAILABLE])
    async with connected(peer) as worker:
        await take_over(peer)
        await wait_until(lambda: worker.statistics().connections == 2, "it connects again")
        await take_over(peer)
        async with asyncio.timeout(30):
            with pytest.raises(errors.TakenOver):
                await anext(worker)


async def test_a_takeover_in_place_of_the_welcome_concerns_another_connection() -> None:
    peer = WorkPeer(unwelcome=[CloseCode.TAKEN_OVER])
    async with serving(peer.handle) as url, WorkConnection(url, "svc", window=3) as worker:
        async with asyncio.timeout(30):
            with pytest.raises(errors.TakenOver):
                await worker.wait_connected()
