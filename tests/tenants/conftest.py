"""A service, its own token, two teams, and a worker that answers with what it was given."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
import pytest

from client_sdk.wire.worker import Delivery
from tests.conftest import Serve
from tests.promises.peer import Peer
from tests.running import TOKEN
from tests.tenants.team import Team


@dataclass
class Tenants:
    """own: the service's own token.  red, blue: the teams."""

    own: Team
    red: Team
    blue: Team

    async def worker(self, token: str = TOKEN, *, window: int = 100, uid: str = "") -> Peer:
        """Connect a worker, which answers each delivery at once with its own data."""

        def answer(peer: Peer, delivery: Delivery) -> None:
            task = asyncio.ensure_future(peer.complete(delivery.index))
            answering.add(task)
            task.add_done_callback(answering.discard)

        answering: set[asyncio.Future[None]] = set()
        peer = Peer(self.own.session, window, uid, token=token, on_delivery=answer)
        await peer.connect(self.own.url)
        return peer


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as opened:
        yield opened


@pytest.fixture
async def tenants(serve: Serve, session: aiohttp.ClientSession) -> Tenants:
    url = await serve({"name": "svc"}, result_retention_ms=3_600_000)
    own = Team(session, url, TOKEN)
    return Tenants(own, await own.make(), await own.make())
