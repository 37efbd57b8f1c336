"""A client of the figures of autoscaling, for tests."""

from dataclasses import dataclass
from typing import Any

import aiohttp

from tests.running import ADMIN_TOKEN, TOKEN

SCALE = "/v1/services/svc/scale"
NOBODY = "no autoscaler is running for this service"
FIRST = {"holder": "first", "lease_ms": 60_000}


@dataclass
class Caller:
    """Calls one replica."""

    session: aiohttp.ClientSession
    url: str

    async def call(
        self, method: str, *, path: str = SCALE, token: str = ADMIN_TOKEN, **fields: Any
    ) -> tuple[int, Any]:
        headers = {"Authorization": token, "Accept": "application/json"}
        async with self.session.request(
            method, self.url + path, headers=headers, **fields
        ) as answer:
            text = await answer.text()
            return answer.status, await answer.json() if text else None

    async def figures(self) -> dict[str, Any]:
        status, figures = await self.call("GET", token=TOKEN)
        assert status == 200, figures
        found: dict[str, Any] = figures
        return found

    async def report(self, **fields: Any) -> tuple[int, Any]:
        return await self.call("PUT", json=fields)

    async def submit(self, **options: str) -> str:
        status, job = await self.call(
            "POST", path="/v1/services/svc/jobs", token=TOKEN, data=b"x", params=options
        )
        assert status == 202, job
        return str(job["id"])
