"""A service of the environment moves to the registry with its entries and its tokens."""

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from client_sdk.wire import names
from tests.conftest import Serve, StartService
from tests.running import ADMIN_TOKEN, TOKEN


class Replica:
    """One process of the queue service."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def admin(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        headers = {"Authorization": ADMIN_TOKEN, "Accept": names.JSON}
        url = f"{self._url}/v1/{path}"
        async with self._session.request(method, url, json=body, headers=headers) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text else None

    async def client(
        self, method: str, token: str = TOKEN, data: bytes = b"", **query: str
    ) -> tuple[int, bytes]:
        url = f"{self._url}{names.EAS_PREFIX}/moves"
        async with self._session.request(
            method, url, data=data, params=query, headers={"Authorization": token}
        ) as answer:
            return answer.status, await answer.read()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


async def test_a_service_of_the_environment_is_adopted_once_with_entries_and_tokens(
    start_service: StartService, session: aiohttp.ClientSession
) -> None:
    process = await start_service({"name": "moves"})
    before = Replica(session, process.url)
    wanted = {"name": "reader", "scopes": ["read", "submit", "all"], "services": ["moves"]}
    status, made = await before.admin("POST", "tokens", wanted)
    assert status == 201, made
    assert await before.client("POST", data=b"kept") == (200, b"1")
    await process.stop()

    after = Replica(session, (await start_service({"name": "other"})).url)
    assert (await after.client("GET"))[0] == 404
    status, moved = await after.admin("PUT", "services/moves?adopt=true", {"token": TOKEN})
    assert (status, moved["origin"]) == (201, "registry")
    assert moved["input"]["length"] == 1
    assert await after.client("GET", made["token"], _count_="true") == (200, b"1")
    # What exists is not adopted again, and keeps what it has.
    status, moved = await after.admin("PUT", "services/moves?adopt=true", {"max_delivery": 3})
    assert (status, moved["input"]["length"], moved["max_delivery"]) == (200, 1, 3)
    assert await after.client("GET", _auto_delete_="true") == (200, b"kept")

    assert await after.client("POST", data=b"goes with it") == (200, b"2")
    status, gone = await after.admin("DELETE", "services/moves")
    assert (status, gone["deleted_entries"]["input"]) == (200, 1)
    # The next one of its name is another service: the tokens of the first do not open it.
    status, again = await after.admin("PUT", "services/moves?adopt=true", {"token": TOKEN})
    assert (status, again["input"]["length"]) == (201, 0)
    assert (await after.client("GET", made["token"]))[0] == 403
    assert (await after.client("GET"))[0] == 204
    assert (await after.admin("DELETE", "services/moves"))[0] == 200
    await after.admin("DELETE", f"tokens/{made['id']}")


async def test_without_adopt_a_new_service_shares_nothing_with_that_of_the_environment(
    start_service: StartService, session: aiohttp.ClientSession
) -> None:
    process = await start_service({"name": "moves"})
    before = Replica(session, process.url)
    await before.client("POST", data=b"stays")
    after = Replica(session, (await start_service({"name": "other"})).url)
    status, made = await after.admin("PUT", "services/moves", {"token": TOKEN})
    assert (status, made["input"]["length"]) == (201, 0)
    assert (await after.admin("DELETE", "services/moves"))[0] == 200
    assert await before.client("GET", _auto_delete_="true") == (200, b"stays")


async def test_adopt_is_true_or_false(serve: Serve, session: aiohttp.ClientSession) -> None:
    replica = Replica(session, await serve())
    status, refused = await replica.admin("PUT", "services/bad?adopt=yes", {})
    assert (status, refused["code"]) == (400, "BAD_PARAMETER")
    assert "true or false" in refused["message"]


async def test_a_bare_mount_serves_the_oldest_service(
    serve: Serve, session: aiohttp.ClientSession
) -> None:
    base = await serve(services=(), bare_mount=True)
    replica = Replica(session, base)
    headers = {"Authorization": TOKEN}
    for name in ("young", "younger"):
        assert (await replica.admin("PUT", f"services/{name}", {"token": TOKEN}))[0] == 201
    await replica.admin("PUT", "services/young", {"max_delivery": 1})
    async with session.post(f"{base}/", data=b"bare", headers=headers) as answer:
        assert answer.status == 200
    _, found = await replica.admin("GET", "services/young")
    assert found["input"]["length"] == 1
    for name in ("young", "younger"):
        await replica.admin("DELETE", f"services/{name}")
