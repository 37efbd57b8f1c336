"""Peers and a plain client for the promises."""

import io
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from client_sdk.wire import frame, names
from tests.promises.peer import Peer
from tests.promises.watcher import Watcher
from tests.running import TOKEN


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(
        connector=connector, headers={"Authorization": TOKEN}
    ) as opened:
        yield opened


class Peers(list[Peer]):
    """The peers of one test; `make` adds one."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        super().__init__()
        self._session = session

    def make(self, window: int, **fields: Any) -> Peer:
        peer = Peer(self._session, window, **fields)
        self.append(peer)
        return peer


@pytest.fixture
async def peers(session: aiohttp.ClientSession) -> AsyncIterator[Peers]:
    made = Peers(session)
    yield made
    for peer in made:
        await peer.cut()


@dataclass
class Client:
    """Puts and reads over the EAS API of one replica."""

    session: aiohttp.ClientSession
    url: str

    async def put(self, data: bytes, *, queue: str = "", **query: str) -> tuple[int, str]:
        """Put into the input queue, or into `queue="/sink"`; give index and request id."""
        address = f"{self.url}{names.EAS_PREFIX}/svc{queue}"
        async with self.session.post(address, data=io.BytesIO(data), params=query) as answer:
            text = await answer.text()
            assert answer.status == 200, f"{answer.status} {text}"
            return int(text), answer.headers[names.REQUEST_ID_HEADER]

    async def read(self, length: int = 1, *, queue: str = "/sink") -> list[frame.Frame]:
        """Read and delete up to `length` frames that are there now."""
        address = f"{self.url}{names.EAS_PREFIX}/svc{queue}"
        query = {names.RAW: "false", names.LENGTH: str(length), names.AUTO_DELETE: "true"}
        async with self.session.get(address, params=query) as answer:
            assert answer.status in {200, 204}, await answer.text()
            return frame.decode_json_list(await answer.read()) if answer.status == 200 else []

    async def length(self, queue: str = "") -> int:
        address = f"{self.url}{names.EAS_PREFIX}/svc{queue}"
        async with self.session.get(address, params={names.ATTRIBUTES: "true"}) as answer:
            return int((await answer.json())["stream.length"])

    async def has_length(self, length: int, queue: str = "") -> bool:
        return await self.length(queue) == length

    async def search_is_pending(self, index: int, *, gid: str = names.DEFAULT_GROUP) -> bool:
        """Say whether a member of the group holds the input entry with this index."""
        address = f"{self.url}{names.EAS_PREFIX}/svc"
        query = {names.SEARCH: "true", names.INDEX: str(index)}
        headers = {names.GROUP_HEADER: gid}
        async with self.session.get(address, params=query, headers=headers) as answer:
            return bool((await answer.json())["IsPending"])

    async def truncate(self, queue: str = "") -> None:
        address = f"{self.url}{names.EAS_PREFIX}/svc{queue}"
        query = {names.TRUNCATE: "true", names.INDEX: str(2**62)}
        async with self.session.delete(address, params=query) as answer:
            assert answer.status == 200


@pytest.fixture
def client(session: aiohttp.ClientSession) -> Client:
    """A client whose `url` the test sets."""
    return Client(session, "")


class Watchers(list[Watcher]):
    """The watchers of one test; `make` adds one."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        super().__init__()
        self._session = session

    def make(self, url: str, **fields: Any) -> Watcher:
        watcher = Watcher(self._session, url, **fields)
        self.append(watcher)
        return watcher


@pytest.fixture
async def watchers(session: aiohttp.ClientSession) -> AsyncIterator[Watchers]:
    made = Watchers(session)
    yield made
    for watcher in made:
        await watcher.close()
