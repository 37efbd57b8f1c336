"""What becomes of OpenAI requests when the store goes away under them."""

import asyncio

import aiohttp

from deploy.local.redis_server import RedisServer
from tests.conftest import StartService
from tests.running import ADMIN_TOKEN, TOKEN, QueueServiceProcess
from tests.waiting import wait_until


async def _length(session: aiohttp.ClientSession, service: QueueServiceProcess) -> int:
    headers = {"Authorization": ADMIN_TOKEN}
    async with session.get(f"{service.url}/v1/services/svc", headers=headers) as answer:
        return int((await answer.json())["input"]["length"]) if answer.status == 200 else -1


async def _ask(
    session: aiohttp.ClientSession, service: QueueServiceProcess, stream: bool, begun: set[bytes]
) -> str:
    body = {"model": "svc", "messages": [{"role": "user", "content": "x"}], "stream": stream}
    headers = {"Authorization": f"Bearer {TOKEN}"}
    url = f"{service.url}/v1/chat/completions"
    async with session.post(url, json=body, headers=headers) as answer:
        first = await answer.content.readline()
        if stream:
            begun.add(first)
        return (first + await answer.read()).decode()


async def test_requests_that_the_store_has_failed_wait_for_nobody_when_it_is_back(
    start_service: StartService, own_redis: RedisServer
) -> None:
    service = await start_service(redis_url=own_redis.url)
    async with aiohttp.ClientSession() as session:
        begun: set[bytes] = set()
        asking = [asyncio.create_task(_ask(session, service, n % 2 == 0, begun)) for n in range(6)]

        async def all_wait() -> bool:
            return await _length(session, service) == len(asking)

        await wait_until(all_wait, "all are in line")
        await wait_until(lambda: len(begun) == 3, "every stream was told its place")
        await own_redis.kill()
        # Some have left; the others learn that the store is away.
        asking[0].cancel()
        asking[1].cancel()
        for told in await asyncio.gather(*asking[2:]):
            assert "STORE_UNAVAILABLE" in told
        await own_redis.start()

        async def nothing_waits() -> bool:
            return await _length(session, service) == 0

        await wait_until(nothing_waits, "nobody waits")
