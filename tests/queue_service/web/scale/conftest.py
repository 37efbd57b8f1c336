"""A service of which one asks for the figures of autoscaling, and a worker of it."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.conftest import Serve
from tests.promises.peer import Peer
from tests.queue_service.web.scale.api import Caller


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


@pytest.fixture
async def caller(serve: Serve, session: aiohttp.ClientSession) -> Caller:
    return Caller(session, await serve(lease_ms=900))


@pytest.fixture
async def peer(session: aiohttp.ClientSession) -> AsyncIterator[Peer]:
    made = Peer(session, window=2)
    yield made
    await made.cut()
