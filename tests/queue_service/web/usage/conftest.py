"""A service whose usage is looked at, and a worker whose answers the test chooses."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from client_sdk.wire.delivery import Delivery
from client_sdk.wire.worker import Completion, Rejection, Result
from client_sdk.work import WorkConnection
from tests.conftest import Serve
from tests.running import ADMIN_TOKEN, TOKEN
from tests.waiting import wait_until

Answer = Callable[[Delivery], Completion | Rejection]


def done(delivery: Delivery) -> Completion:
    """Answer with three bytes."""
    return Completion(delivery.index, delivery.attempt, Result(b"yes"))


@dataclass
class Shop:
    """The service `svc`, with its own token or another one."""

    session: aiohttp.ClientSession
    url: str

    async def ask(
        self, method: str, path: str, *, token: str = TOKEN, **more: Any
    ) -> tuple[int, Any]:
        """Send a request; return the status and the JSON or text of the response."""
        headers = {"Authorization": token, **more.pop("headers", {})}
        async with self.session.request(
            method, f"{self.url}{path}", headers=headers, **more
        ) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text[:1] in ("{", "[") else text

    async def put_job(
        self, job: str, *, token: str = TOKEN, data: bytes = b"data", **options: str
    ) -> None:
        path = f"/v1/services/svc/jobs/{job}"
        status, answer = await self.ask("PUT", path, token=token, data=data, params=options)
        assert status in (200, 202), answer

    async def make_token(self, *scopes: str, **more: object) -> tuple[str, str]:
        """Make a token; return its text and its id."""
        wish = {"scopes": list(scopes), **more}
        status, made = await self.ask("POST", "/v1/tokens", token=ADMIN_TOKEN, json=wish)
        assert status == 201, made
        return made["token"], made["id"]

    async def usage(self, *, token: str = ADMIN_TOKEN, **query: str) -> dict[str, Any]:
        status, found = await self.ask("GET", "/v1/usage", token=token, params=query)
        assert status == 200, found
        return dict(found)

    async def total(self, **query: str) -> dict[str, Any]:
        """Return what is not 0 of the sums."""
        total = (await self.usage(**query))["total"]
        return {name: number for name, number in total.items() if number}

    async def wait_for(self, name: str, count: int) -> None:
        async def counted() -> bool:
            return int((await self.usage())["total"][name]) >= count

        await wait_until(counted, f"{count} {name}")

    @contextlib.asynccontextmanager
    async def worker(self, answer: Answer = done, **about: Any) -> AsyncIterator[None]:
        """Run a worker that answers everything in this way."""
        work = WorkConnection(self.url, "svc", window=50, token=TOKEN, **about)

        async def run() -> None:
            async for event in work:
                if isinstance(event, Delivery):
                    work.answer(answer(event))

        async with work:
            task = asyncio.create_task(run())
            try:
                yield
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


@pytest.fixture
async def shop(serve: Serve, session: aiohttp.ClientSession) -> Shop:
    return Shop(
        session,
        await serve(
            {"name": "svc", "max_delivery": 2, "dead_message_policy": "Park"},
            price_gpu_second=3.6,
            price_1k_prompt_tokens=1.0,
            price_1k_completion_tokens=2.0,
        ),
    )
