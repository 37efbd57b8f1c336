"""A receiver of webhooks, and a queue service that may reach it."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from openai import OpenAI
from standardwebhooks import Webhook

from client_sdk.wire.delivery import Delivery
from client_sdk.wire.worker import Completion, Result
from client_sdk.work import WorkConnection
from tests.conftest import Serve
from tests.running import TOKEN
from tests.waiting import wait_until

#: The pauses of the schedule in a test: from 5 ms to 86 s, so 4 further attempts within 10 s.
SCALE = 0.001
LOCAL = "127.0.0.0/8, ::1/128"


@dataclass(frozen=True)
class Came:
    """One request that a receiver got."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def event(self) -> dict[str, Any]:
        return dict(json.loads(self.body))

    @property
    def job(self) -> str:
        return str(self.event["data"]["id"])


Behave = Callable[[Came], Awaitable[web.StreamResponse]]


@dataclass
class Receiver:
    """Answers webhooks by path; a path without a behaviour answers 200."""

    port: int = 0
    came: list[Came] = field(default_factory=list)
    behaviours: dict[str, Behave] = field(default_factory=dict)

    def url(self, path: str = "/hook", host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    def at(self, path: str) -> list[Came]:
        return [one for one in self.came if one.path == path]

    async def wait(self, path: str, count: int = 1, timeout_s: float = 20.0) -> list[Came]:
        await wait_until(lambda: len(self.at(path)) >= count, f"{count} at {path}", timeout_s)
        return self.at(path)

    async def answer(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        came = Came(request.path, headers, await request.read())
        self.came.append(came)
        if behave := self.behaviours.get(request.path):
            return await behave(came)
        return web.Response()

    def answers(self, path: str, *statuses: int, **headers: str) -> None:
        """Answer with these statuses, one after the other; the last one remains."""
        left = list(statuses)

        async def behave(_: Came) -> web.StreamResponse:
            status = left.pop(0) if len(left) > 1 else left[0]
            return web.Response(status=status, headers=headers if status >= 300 else {})

        self.behaviours[path] = behave


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    found = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", found.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    found.port = runner.addresses[0][1]
    yield found
    await runner.cleanup()


@dataclass
class Hooks:
    """The webhooks and the jobs of the service `svc`, with its own token."""

    session: aiohttp.ClientSession
    url: str
    service: str = "svc"

    async def ask(
        self, method: str, path: str = "", *, token: str = TOKEN, **more: Any
    ) -> tuple[int, Any]:
        url = f"{self.url}/v1/services/{self.service}/webhooks{path}"
        return await self._ask(method, url, token=token, **more)

    async def put(self, name: str, url: str, **more: Any) -> str:
        """Set up an endpoint that is new; return its secret."""
        status, made = await self.ask("PUT", f"/{name}", json={"url": url, **more})
        assert status == 201, made
        return str(made["secret"])

    async def jobs(
        self, method: str, path: str = "", *, token: str = TOKEN, **more: Any
    ) -> tuple[int, Any]:
        url = f"{self.url}/v1/services/{self.service}/jobs{path}"
        return await self._ask(method, url, token=token, **more)

    async def eas(self, method: str, path: str = "", **more: Any) -> tuple[int, Any]:
        url = f"{self.url}/api/predict/{self.service}{path}"
        return await self._ask(method, url, token=TOKEN, **more)

    async def end(self, job_id: str, **options: str) -> None:
        """Submit a job, and cancel it: the quickest end."""
        status, job = await self.jobs("PUT", f"/{job_id}", data=b"x", params=options)
        assert status in (200, 202), job
        status, job = await self.jobs("POST", f"/{job_id}/cancel")
        assert status == 200, job

    async def deliveries(self, name: str, state: str = "") -> list[dict[str, Any]]:
        query = f"?state={state}" if state else ""
        status, found = await self.ask("GET", f"/{name}/deliveries{query}")
        assert status == 200, found
        return list(found["deliveries"])

    async def delivered(self, name: str, count: int = 1) -> list[dict[str, Any]]:
        return await self.wait_for(name, "delivered", count)

    async def wait_for(
        self, name: str, state: str, count: int = 1, timeout_s: float = 30.0
    ) -> list[dict[str, Any]]:
        async def enough() -> list[dict[str, Any]] | None:
            found = await self.deliveries(name, state)
            return found if len(found) >= count else None

        await wait_until(enough, f"{count} {state} of {name}", timeout_s)
        return await self.deliveries(name, state)

    @contextlib.asynccontextmanager
    async def worker(self, **tags: str) -> AsyncIterator[None]:
        """Run a worker that completes everything; tags: of its results."""
        work = WorkConnection(self.url, self.service, window=50, token=TOKEN)

        async def run() -> None:
            async for event in work:
                if isinstance(event, Delivery):
                    work.answer(Completion(event.index, event.attempt, Result(b"done", tags)))

        async with work:
            task = asyncio.create_task(run())
            try:
                yield
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def _ask(self, method: str, url: str, *, token: str, **more: Any) -> tuple[int, Any]:
        headers = {"Authorization": token, **more.pop("headers", {})}
        async with self.session.request(method, url, headers=headers, **more) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text[:1] in "{[" and text else text


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


@pytest.fixture
async def hooks(serve: Serve, session: aiohttp.ClientSession) -> Hooks:
    url = await serve(
        webhook_networks=LOCAL, webhook_schedule_scale=SCALE, webhook_timeout_s=5.0, tick_ms=100
    )
    return Hooks(session, url)


def verify(came: Came, secret: str) -> dict[str, Any]:
    """Check a delivery with both libraries; return the event."""
    event = Webhook(secret).verify(came.body, dict(came.headers))
    client = OpenAI(api_key="unused", webhook_secret=secret)
    unwrapped = client.webhooks.unwrap(came.body.decode(), dict(came.headers))
    assert unwrapped.id == event["id"] == came.id
    assert unwrapped.type == event["type"]
    return dict(event)
