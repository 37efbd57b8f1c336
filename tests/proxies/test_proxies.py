"""nginx, Caddy and Traefik as deploy/proxies configures them: every API works through them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import yaml

from client_sdk import AsyncQueueClient
from tests.conftest import StartService, StartWorker
from tests.proxies.servers import EXAMPLES, SERVERS, Setting, environment, is_installed
from tests.queue_service.web.certificates import Authority
from tests.running import TOKEN, free_port
from tests.waiting import wait_until

LARGE = b"x" * 20_000_000


@pytest.fixture(params=list(SERVERS))
async def proxy(
    request: pytest.FixtureRequest,
    start_service: StartService,
    authority: Authority,
    tmp_path: Path,
) -> AsyncIterator[str]:
    """Run one of the proxies in front of a queue service; return its address."""
    if not is_installed(request.param):
        pytest.skip(f"{request.param} is not installed")
    folder = tmp_path / "proxy"
    cert, key = authority.issue(folder)
    service = await start_service(
        {"name": "svc", "sink": {"max_payload_size_kb": 30_000}}, trusted_proxies="127.0.0.1"
    )
    setting = Setting(free_port(), service.port, folder, cert, key)
    command = SERVERS[request.param](setting)
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=log, stderr=log, env=environment(folder)
        )
    url = f"https://localhost:{setting.port}"

    async def is_ready() -> bool:
        assert process.returncode is None, (folder / "log").read_text()
        async with aiohttp.ClientSession() as session:
            try:
                async with session.get(f"{url}/readyz", ssl=authority.trusted()) as answer:
                    return answer.status == 200
            except aiohttp.ClientError:
                return False

    try:
        await wait_until(is_ready, "the proxy passes requests on")
        yield url
    finally:
        process.terminate()
        await process.wait()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file that lets the handler go on."""
    monkeypatch.setenv("SEEN", str(tmp_path / "seen"))
    return tmp_path / "seen"


@pytest.mark.slow
@pytest.mark.parametrize("prefix", ["", "/penstock"])
async def test_every_api_works_through_the_proxy(
    proxy: str,
    start_worker: StartWorker,
    authority: Authority,
    seen: Path,
    prefix: str,
) -> None:
    url, ca_file = f"{proxy}{prefix}", str(authority.ca_file)
    # The worker's WebSocket goes through the proxy too.
    engine = "handler:tests.proxies.handler:Streams"
    worker = await start_worker(url, ca_file=ca_file, engine=engine)
    await wait_until(lambda: "Connected" in worker.log, "the worker is connected")
    async with AsyncQueueClient(url, "svc", token=TOKEN, ca_file=ca_file) as client:
        await check_streams(client, seen)
        async with client.sink.watch() as frames:
            await client.sink.put(b"to a watch")
            frame = await anext(frames)
            assert frame.data == b"to a watch"
            await client.sink.commit(frame)
        await client.sink.put(LARGE)
        (large,) = await client.sink.get(timeout_s=30)
        assert large.data == LARGE
    # What a client says about the address does not count.
    headers = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "ftp"}
    if not prefix:
        headers["X-Forwarded-Prefix"] = "/evil"
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.get(f"{url}/openapi.json", ssl=authority.trusted()) as answer,
    ):
        assert (await answer.json())["servers"] == [{"url": url}]


async def check_streams(client: AsyncQueueClient, seen: Path) -> None:
    """Check that events arrive while the job runs: it goes on only when the first was seen."""
    job = await client.jobs.submit("x")
    pieces = []
    async for piece in client.jobs.stream(job.id):
        pieces.append(piece)
        await asyncio.to_thread(seen.touch)
    assert "".join(pieces) == "firstsecond"
    await client.jobs.delete(job.id)


def test_the_files_of_traefik_are_read() -> None:
    static = yaml.safe_load((EXAMPLES / "traefik.yml").read_text())
    routes = yaml.safe_load((EXAMPLES / "traefik-penstock.yml").read_text())["http"]
    assert static["providers"]["file"]["filename"].endswith("/traefik-penstock.yml")
    for router in routes["routers"].values():
        assert router["service"] in routes["services"]
        assert set(router["middlewares"]) <= routes["middlewares"].keys()
        assert set(router["entryPoints"]) <= static["entryPoints"].keys()
