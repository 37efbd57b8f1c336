"""An EAS watch for tests: it notes every frame, and commits when the test says so."""

import asyncio
import itertools
from dataclasses import dataclass, field

import aiohttp

from client_sdk.wire import frame, names
from tests.running import TOKEN

_numbers = itertools.count(1)


@dataclass(eq=False)
class Watcher:
    """One subscriber of the EAS API.

    frames: every frame it was handed, in order.
    """

    session: aiohttp.ClientSession
    url: str
    queue: str = ""
    gid: str = "eas"
    uid: str = ""
    frames: list[frame.Frame] = field(default_factory=list)
    socket: aiohttp.ClientWebSocketResponse | None = None
    _reading: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        self.uid = self.uid or f"watcher-{next(_numbers)}"

    @property
    def connected(self) -> bool:
        return self.socket is not None and not self.socket.closed

    @property
    def address(self) -> str:
        return f"{self.url}{names.EAS_PREFIX}/svc{self.queue}"

    @property
    def headers(self) -> dict[str, str]:
        return {
            "Authorization": TOKEN,
            names.GROUP_HEADER: self.gid,
            names.USER_HEADER: self.uid,
        }

    @property
    def indexes(self) -> list[int]:
        """The indexes that it was handed, in order."""
        return [item.index for item in self.frames]

    async def watch(self, *, window: int = 10, **query: str) -> None:
        """Connect; tags and further parameters go into the query."""
        parameters = {names.WATCH: "true", names.WINDOW: str(window), **query}
        self.socket = await self.session.ws_connect(
            self.address, params=parameters, headers=self.headers, max_msg_size=0
        )
        self._reading = asyncio.create_task(self._read(self.socket))

    async def commit(self, *indexes: int, url: str = "") -> None:
        """Commit over this connection's replica, or over another one."""
        await self._put({names.INDEXES: ",".join(map(str, indexes))}, url)

    async def reject(self, *indexes: int) -> None:
        query = {names.INDEXES: ",".join(map(str, indexes)), names.NEGATIVE: "true"}
        await self._put(query, "")

    async def close(self) -> None:
        """End the connection."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait((self._reading,))
        if self.socket is not None:
            await self.socket.close()
        self.socket = self._reading = None

    async def _put(self, query: dict[str, str], url: str) -> None:
        address = f"{url or self.url}{names.EAS_PREFIX}/svc{self.queue}"
        async with self.session.put(address, params=query, headers=self.headers) as answer:
            assert answer.status == 200, await answer.text()

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            self.frames.append(frame.decode(message.data))
