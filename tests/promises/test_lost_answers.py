"""An answer of Redis gets lost: what was carried out is neither stranded nor doubled."""

import asyncio
from collections import Counter

import aiohttp
import pytest

from client_sdk.wire import names
from client_sdk.wire.worker import Delivery
from tests.conftest import StartService
from tests.leaks import wait_for_no_leaks
from tests.promises.conftest import Client, Peers
from tests.promises.lossy_link import LossyLink
from tests.promises.peer import Peer
from tests.running import START_S
from tests.waiting import wait_until


@pytest.fixture
def bench(redis_url: str, key_prefix: str) -> tuple[str, str]:
    """Return where Redis is, and what the keys of this test begin with."""
    return redis_url, key_prefix


@pytest.mark.parametrize("verb", ["put", "deliver", "complete", "renew", "expire"])
async def test_an_answer_that_is_lost_strands_nothing(
    start_service: StartService, client: Client, peers: Peers, bench: tuple[str, str], verb: str
) -> None:
    async with LossyLink(bench[0]).open() as link:
        # The link is served by this very loop, so the service is waited for without blocking it.
        service = await start_service(redis_url=link.url, lease_ms=1500, wait=False)
        client.url = service.url
        await wait_until(lambda: _is_ready(client), "the service is ready", START_S)
        answering: set[asyncio.Task[None]] = set()

        def answer(peer: Peer, delivery: Delivery) -> None:
            answering.add(asyncio.create_task(_complete(peer, delivery)))

        peer = peers.make(4, on_delivery=answer)
        await peer.connect(service.url)
        # Everything runs once, so that the scripts are known to Redis by their digests.
        await _put(client, "warm-up")
        await wait_until(lambda: len(peer.outcomes) == 1, "the first is done")

        link.lose(verb)
        for number in range(8):
            await _put(client, f"request-{number}")

        async def all_done() -> bool:
            if not peer.connected:
                await _connect(peer, service.url)
            for held in list(peer.held.values()):
                await _complete(peer, held)
            return link.lost == 1 and await client.length() == 0

        await wait_until(all_done, "every entry is answered")
        await asyncio.gather(*answering)
        frames = await client.read(100)
        results = Counter(frame.tags[names.REQUEST_ID_TAG] for frame in frames)
        assert results == Counter(["warm-up", *(f"request-{number}" for number in range(8))])
        await peer.cut()
        # While the link is there; in a thread, because this loop serves it.
        redis_url, key_prefix = bench
        await asyncio.to_thread(lambda: wait_for_no_leaks(redis_url, key_prefix))


async def _is_ready(client: Client) -> bool:
    try:
        async with client.session.get(f"{client.url}/readyz") as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


async def _put(client: Client, request_id: str) -> None:
    """Put until it is accepted, under one request id."""

    async def accepted() -> bool:
        try:
            await client.put(request_id.encode(), **{names.REQUEST_ID_TAG: request_id})
        except AssertionError:  # a refusal
            return False
        return True

    await wait_until(accepted, f"{request_id} is accepted")


async def _connect(peer: Peer, url: str) -> None:
    try:
        await peer.connect(url)
    except (aiohttp.ClientError, ConnectionError):
        await peer.cut()


async def _complete(peer: Peer, delivery: Delivery) -> None:
    """Complete what is held; on a broken connection it stays held, for the next one."""
    if not peer.connected or peer.held.get(delivery.index) != delivery:
        return
    try:
        await peer.complete(delivery.index)
    except (aiohttp.ClientError, ConnectionError):
        peer.held[delivery.index] = delivery
