"""One process of the queue service, as operators and clients meet it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from client_sdk.wire import names
from tests.running import ADMIN_TOKEN

TOKEN = "the-token-of-a-new-service"


@dataclass(frozen=True)
class Answer:
    status: int
    code: str
    body: Any
    headers: Any


class Replica:
    """One process of the queue service, as operators and clients meet it."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self.url = url

    async def admin(
        self, method: str, path: str = "", body: object = None, **headers: str
    ) -> Answer:
        told = {"Authorization": ADMIN_TOKEN, "Accept": names.JSON}
        told |= {name.replace("_", "-"): value for name, value in headers.items()}
        address = f"{self.url}/v1/services{path}"
        async with self._session.request(method, address, json=body, headers=told) as answer:
            code = answer.headers.get(names.ERROR_CODE_HEADER, "")
            return Answer(answer.status, code, await answer.json(), answer.headers)

    async def client(
        self, method: str, service: str, data: bytes = b"", *, token: str = TOKEN, **query: str
    ) -> Answer:
        address = f"{self.url}{names.EAS_PREFIX}/{service}"
        async with self._session.request(
            method, address, data=data, params=query, headers={"Authorization": token}
        ) as answer:
            code = answer.headers.get(names.ERROR_CODE_HEADER, "")
            return Answer(answer.status, code, await answer.read(), answer.headers)

    async def length(self, service: str) -> int:
        return int((await self.client("GET", service, _count_="true")).body)

    @asynccontextmanager
    async def watch(self, service: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        async with self._session.ws_connect(
            f"{self.url}{names.EAS_PREFIX}/{service}",
            params={names.WATCH: "true", names.WINDOW: "5"},
            headers={"Authorization": TOKEN, names.USER_HEADER: f"watcher-{self.url[-5:]}"},
        ) as socket:
            yield socket
