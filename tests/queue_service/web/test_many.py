"""Many services and many requests at once: nobody is refused because others ask too."""

import asyncio
from collections import Counter

import aiohttp

from client_sdk.wire import names
from tests.conftest import StartService
from tests.running import TOKEN

#: More queues than a client library has connections by default.
SERVICES = 100

#: Requests at once, more than that too.
REQUESTS = 300


def _services() -> list[dict[str, object]]:
    return [{"name": f"svc-{number}"} for number in range(SERVICES)]


async def test_a_hundred_services_in_one_process_are_all_served(
    start_service: StartService,
) -> None:
    service = await start_service(*_services())
    async with aiohttp.ClientSession(headers={"Authorization": TOKEN}) as session:

        async def put_and_get(number: int) -> tuple[int, bytes]:
            address = f"{service.url}{names.EAS_PREFIX}/svc-{number}"
            async with session.post(address, data=f"{number}".encode()) as answer:
                status = answer.status
            async with session.get(address, params={names.AUTO_DELETE: "true"}) as answer:
                return status, await answer.read()

        answers = await asyncio.gather(*map(put_and_get, range(SERVICES)))
    assert answers == [(200, f"{number}".encode()) for number in range(SERVICES)]
    assert "Too many connections" not in service.log


async def test_many_requests_at_once_are_all_answered(start_service: StartService) -> None:
    service = await start_service()
    address = f"{service.url}{names.EAS_PREFIX}/svc"
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(
        headers={"Authorization": TOKEN}, connector=connector
    ) as session:

        async def ask(number: int) -> int:
            # Three verbs of which the store does not take many callers in one call.
            method, query = (
                ("GET", f"{names.ATTRIBUTES}=true"),
                ("DELETE", f"{names.INDEXES}={number + 1}"),
                ("DELETE", f"{names.TRUNCATE}=true&{names.INDEX}=1"),
            )[number % 3]
            async with session.request(method, f"{address}?{query}") as answer:
                await answer.read()
                return answer.status

        statuses = Counter(await asyncio.gather(*map(ask, range(REQUESTS))))
    assert statuses == {200: REQUESTS}
