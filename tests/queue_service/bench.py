"""Two replicas of one service in this process, and an operator who gives and takes tokens."""

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

from queue_service.app import build_app
from queue_service.service.access import Scope
from queue_service.settings.process import Settings
from queue_service.web.keys import SERVICES
from queue_service.web.tokens import require_scope
from tests.running import ADMIN_TOKEN
from tests.waiting import wait_until


@dataclass
class Bench:
    """Two replicas of one service `svc` in this process, and an operator."""

    session: aiohttp.ClientSession
    urls: list[str] = field(default_factory=list)
    apps: list[web.Application] = field(default_factory=list)
    under_way: int = 0
    closing: asyncio.Event = field(default_factory=asyncio.Event)

    async def call(self, method: str, path: str, **more: Any) -> Any:
        headers = {"Authorization": more.pop("token", ADMIN_TOKEN), "Accept": "application/json"}
        async with self.session.request(
            method, self.urls[0] + path, headers=headers, **more
        ) as answer:
            assert answer.status < 300, await answer.text()
            return await answer.json() if answer.content_type == "application/json" else None

    async def make_token(self, *scopes: Scope, **more: Any) -> tuple[str, str]:
        made = await self.call("POST", "/v1/tokens", json={"scopes": list(scopes), **more})
        return made["token"], made["id"]

    async def is_everywhere(self, token: str, status: int = 200) -> None:
        """Wait until every replica knows what a token may do."""

        async def known() -> bool:
            statuses = set()
            for url in self.urls:
                path = f"{url}/api/predict/svc?_attrs_=true"
                async with self.session.get(path, headers={"Authorization": token}) as answer:
                    statuses.add(answer.status)
            return statuses == {status}

        await wait_until(known, f"every replica answers {status}")


@contextlib.asynccontextmanager
async def running_bench(redis_url: str, key_prefix: str) -> AsyncIterator[Bench]:
    """Run both replicas."""
    runners: list[web.AppRunner] = []
    connector = aiohttp.TCPConnector(limit=0)
    files = tempfile.mkdtemp(prefix="penstock-files-")
    async with aiohttp.ClientSession(connector=connector) as session:
        made = Bench(session)

        @web.middleware
        async def count(request: web.Request, handler: Any) -> web.StreamResponse:
            made.under_way += 1
            try:
                response: web.StreamResponse = await handler(request)
                return response
            finally:
                made.under_way -= 1

        async def forgetful(request: web.Request) -> web.StreamResponse:
            """A handler that is admitted and then thinks of nothing."""
            service = request.app[SERVICES].find("svc")
            require_scope(request, service, Scope.READ)
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(b"begun")
            await made.closing.wait()
            return response

        for _ in range(2):
            settings = Settings(
                redis_url=redis_url,
                key_prefix=key_prefix,
                admin_token=ADMIN_TOKEN,
                files_dir=files,
                files_reserve_mb=0,
            )
            app = build_app(settings)
            app.middlewares.append(count)
            app.router.add_get("/forgetful/route", forgetful)
            # Before the route that takes whatever is left.
            app.router._resources.insert(0, app.router._resources.pop())
            app.router._resource_index.clear()
            for resource in app.router._resources:
                app.router.index_resource(resource)
            made.apps.append(app)
            runner = web.AppRunner(app, shutdown_timeout=0.1, lingering_time=0.1)
            runners.append(runner)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            host, port = runner.addresses[0][:2]
            made.urls.append(f"http://{host}:{port}")
        yield made
        made.closing.set()
    for runner in reversed(runners):
        await runner.cleanup()
    shutil.rmtree(files)
