"""An operator of dead letters, over the admin API."""

from dataclasses import dataclass
from typing import Any

import aiohttp

from tests.running import ADMIN_TOKEN


@dataclass
class Operator:
    """Dead letters of one queue of `svc`."""

    session: aiohttp.ClientSession
    url: str
    queue: str = "input"

    async def ask(
        self, method: str, path: str = "", *, status: int = 200, json: object = None, **query: Any
    ) -> dict[str, Any]:
        """Ask for something below `dead-letters`; the answer must have this status."""
        async with self.session.request(
            method,
            f"{self.url}/v1/services/svc/dead-letters{path}",
            params={"queue": self.queue, **query},
            json=json,
            headers={"Authorization": ADMIN_TOKEN, "Accept": "application/json"},
        ) as answer:
            assert answer.status == status, f"{answer.status} {await answer.text()}"
            told: dict[str, Any] = await answer.json()
            return told

    async def letters(self, **query: Any) -> list[dict[str, Any]]:
        """Give the first page."""
        told: list[dict[str, Any]] = (await self.ask("GET", "", **query))["dead_letters"]
        return told

    async def has_letters(self, count: int) -> bool:
        return len(await self.letters()) == count

    async def sums(self) -> dict[str, int]:
        """Give the sums of the queue's attributes."""
        async with self.session.get(
            f"{self.url}/v1/services/svc", headers={"Authorization": ADMIN_TOKEN}
        ) as answer:
            sums: dict[str, int] = (await answer.json())[self.queue]["dead_letters"]
            return sums

    async def purge_all(self) -> int:
        """Leave nothing behind."""
        return int((await self.ask("DELETE", all="true"))["purged"])
