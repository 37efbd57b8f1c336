"""An answer that has begun and cannot go on ends, and has no other answer in it."""

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp

from deploy.local.redis_server import RedisServer
from tests.conftest import StartService
from tests.queue_service.web.jobs.api import JobsApi
from tests.running import TOKEN


async def test_events_are_broken_off_when_the_store_goes_away(
    start_service: StartService, tmp_path: Path
) -> None:
    folder = tmp_path / "redis"
    folder.mkdir()
    redis = RedisServer(folder)
    await redis.start()
    service = await start_service(redis_url=redis.url, store_timeout_s=1)
    async with aiohttp.ClientSession(headers={"Authorization": TOKEN}) as session:
        api = JobsApi(session, service.url)
        job_id = await api.submit()
        address = urlsplit(service.url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        head = f"GET {address.path}{urlsplit(api.base).path}/{job_id}/events HTTP/1.1"
        writer.write(f"{head}\r\nHost: localhost\r\nAuthorization: {TOKEN}\r\n\r\n".encode())
        async with asyncio.timeout(30):
            begun = await reader.readuntil(b"event: state")
            await redis.stop()
            rest = await reader.read()
        writer.close()
    assert (begun + rest).count(b"HTTP/1.1") == 1, rest
    assert not rest.endswith(b"0\r\n\r\n"), "it is no end that a client could take for one"
    service.kill_all()
