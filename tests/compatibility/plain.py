"""A client in plain HTTP, written from nothing but the documentation."""

import asyncio
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp

from client_sdk.wire import frame, names
from tests.running import TOKEN


@dataclass(frozen=True)
class Answer:
    """Everything of one answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def frames(self) -> list[frame.Frame]:
        """The frames of a JSON list; none of an empty answer."""
        return frame.decode_json_list(self.body) if self.status == 200 else []


@dataclass
class Plain:
    """Requests for the service `svc`; a target such as `/sink?_count_=true` follows its name."""

    session: aiohttp.ClientSession
    base: str

    async def ask(
        self,
        method: str,
        target: str = "",
        data: bytes | None = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request."""
        async with self.session.request(
            method, f"{self.base}{target}", data=data, headers=headers
        ) as answer:
            return Answer(answer.status, answer.headers.copy(), await answer.read())

    async def put(
        self, data: str = "x", target: str = "", *, headers: Mapping[str, str] | None = None
    ) -> int:
        answer = await self.ask("POST", target, data.encode(), headers=headers)
        assert answer.status == 200, answer.text
        return int(answer.text)

    async def read(self, query: str = "", queue: str = "") -> list[str]:
        """Read what is there now, up to ten, without taking it out."""
        wanted = f"{names.RAW}=false&{names.LENGTH}=10&{names.AUTO_DELETE}=false"
        answer = await self.ask("GET", f"{queue}?{wanted}&{query}")
        assert answer.status in {200, 204}, answer.text
        return [item.data.decode() for item in answer.frames]

    async def attributes(self, queue: str = "") -> dict[str, str]:
        answer = await self.ask("GET", f"{queue}?{names.ATTRIBUTES}=true")
        found = json.loads(answer.body)
        assert isinstance(found, dict)
        return found

    async def length(self, queue: str = "") -> int:
        return int((await self.attributes(queue))["stream.length"])

    async def truncate(self, queue: str = "") -> None:
        await self.ask("DELETE", f"{queue}?{names.TRUNCATE}=true&{names.INDEX}={2**62}")

    def identity(self, uid: str, gid: str = names.DEFAULT_GROUP) -> dict[str, str]:
        return {names.USER_HEADER: uid, names.GROUP_HEADER: gid}


class Stream:
    """A watch without a WebSocket: frames behind their lengths."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self.answer = answer

    async def next(self, timeout_s: float = 5.0) -> frame.Frame:
        head = await asyncio.wait_for(self.answer.content.readexactly(4), timeout_s)
        (length,) = struct.unpack(">I", head)
        return frame.decode(await self.answer.content.readexactly(length))


def plain_session() -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(limit=0)
    return aiohttp.ClientSession(connector=connector, headers={"Authorization": TOKEN})
