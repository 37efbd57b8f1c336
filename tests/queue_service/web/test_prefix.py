"""Behind a proxy that serves Penstock below a path: nginx, as people set it up."""

import shutil
from typing import Any

import aiohttp
import pytest
from yarl import URL

from client_sdk import AsyncQueueClient
from tests.conftest import StartService, StartWorker
from tests.queue_service.web.conftest import FORWARDED, Proxy
from tests.running import TOKEN

pytestmark = [
    pytest.mark.skipif(shutil.which("nginx") is None, reason="there is no nginx"),
    pytest.mark.timeout(120),
]


@pytest.mark.parametrize("way", ["stripped", "passed on", "forwarded"])
async def test_links_the_chat_page_and_clients_work_below_a_path(
    start_service: StartService, start_worker: StartWorker, proxy: Proxy, way: str
) -> None:
    forwards = way == "forwarded"
    setting: dict[str, Any] = (
        {"trusted_proxies": "127.0.0.1"} if forwards else {"root_path": "/penstock"}
    )
    service = await start_service(**setting)
    await start_worker(service.url)
    target = service.url if way == "passed on" else f"{service.url}/"
    headers = FORWARDED if forwards else "proxy_set_header Host $http_host;"
    url = await proxy(target, headers)
    origin = str(URL(url).origin())
    async with aiohttp.ClientSession(headers={"Authorization": TOKEN}) as session:
        # A page of the proxy's own origin, as the chat page is.
        page = {"Origin": origin}
        async with session.post(f"{url}/v1/services/svc/jobs", data=b"x", headers=page) as answer:
            assert answer.status == 202, await answer.text()
            job = await answer.json()
            assert answer.headers["Location"] == job["links"]["self"]
        for link in job["links"].values():
            assert link.startswith("/penstock/v1/services/svc/jobs/")
        async with session.get(f"{origin}{job['links']['result']}?wait=20s") as answer:
            assert (answer.status, await answer.read()) == (200, b"x")
        async with session.delete(f"{origin}{job['links']['self']}") as answer:
            assert answer.status == 204
        async with session.get(f"{url}/v1/services/svc/jobs/none") as answer:
            assert answer.content_type == "application/problem+json"
        async with session.get(f"{url}/v1/models/none") as answer:
            assert "error" in await answer.json()
        async with session.get(f"{url}/openapi.json") as answer:
            (server,) = (await answer.json())["servers"]
            assert server["url"] == (url.replace("http:", "https:") if forwards else url)
        async with session.get(f"{url}/chat") as answer:
            text = await answer.text()
        assert '"/chat' not in text
        for name in ("chat.css", "chat.js", "jobs.js", "markdown.js"):
            async with session.get(URL(f"{url}/chat").join(URL(f"chat/{name}"))) as answer:
                assert answer.status == 200
                assert '"/v1' not in await answer.text()
    async with AsyncQueueClient(url, "svc", token=TOKEN) as client:
        receipt = await client.put(b"through the proxy")
        (frame,) = await client.sink.get(request_id=receipt.request_id, timeout_s=20)
        assert frame.data == b"through the proxy"
    async with (
        aiohttp.ClientSession(headers={"Authorization": TOKEN}) as session,
        session.ws_connect(f"{url}/api/predict/svc/sink?_watch_=true") as watch,
    ):
        await watch.ping()


async def test_nobody_but_a_trusted_proxy_says_what_links_begin_with(
    start_service: StartService,
) -> None:
    service = await start_service()
    headers = {"Authorization": TOKEN, "X-Forwarded-Prefix": "/evil"}
    headers["X-Forwarded-Proto"] = "https"
    async with aiohttp.ClientSession(headers=headers) as session:
        jobs = f"{service.url}/v1/services/svc/jobs"
        async with session.put(f"{jobs}/one", data=b"x") as answer:
            assert answer.headers["Location"] == "/v1/services/svc/jobs/one"
        async with session.get(f"{service.url}/openapi.json") as answer:
            assert (await answer.json())["servers"] == [{"url": service.url}]
        await session.post(f"{jobs}/one/cancel")
        await session.delete(f"{jobs}/one")
