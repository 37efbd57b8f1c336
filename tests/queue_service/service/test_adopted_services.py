"""A service of the environment moves to the registry with its entries and its tokens."""

from typing import Any

import aiohttp

from client_sdk.wire.codes import Code
from tests.conftest import Serve, StartService
from tests.queue_service.service.replica import Replica
from tests.running import ADMIN_TOKEN, TOKEN


async def _tokens(
    session: aiohttp.ClientSession, method: str, url: str, body: object = None
) -> dict[str, Any]:
    headers = {"Authorization": ADMIN_TOKEN}
    async with session.request(method, f"{url}/v1/tokens", json=body, headers=headers) as answer:
        assert answer.status == 201
        made: dict[str, Any] = await answer.json()
        return made


async def test_a_service_of_the_environment_is_adopted_once_with_entries_and_tokens(
    start_service: StartService, session: aiohttp.ClientSession
) -> None:
    process = await start_service({"name": "moves"})
    before = Replica(session, process.url)
    wanted = {"name": "reader", "scopes": ["read", "submit", "all"], "services": ["moves"]}
    made = (await _tokens(session, "POST", process.url, wanted))["token"]
    assert (await before.client("POST", "moves", b"kept", token=TOKEN)).body == b"1"
    await process.stop()

    after = Replica(session, (await start_service({"name": "other"})).url)
    assert (await after.client("GET", "moves", token=TOKEN)).status == 404
    moved = await after.admin("PUT", "/moves?adopt=true", {"token": TOKEN})
    assert (moved.status, moved.body["origin"], moved.body["input"]["length"]) == (
        201,
        "registry",
        1,
    )
    assert (await after.client("GET", "moves", token=made, _count_="true")).body == b"1"
    # What exists is not adopted again, and keeps what it has.
    moved = await after.admin("PUT", "/moves?adopt=true", {"max_delivery": 3})
    assert (moved.status, moved.body["input"]["length"]) == (200, 1)
    assert (await after.client("GET", "moves", token=TOKEN, _auto_delete_="true")).body == b"kept"

    assert (await after.client("POST", "moves", b"goes with it", token=TOKEN)).body == b"2"
    gone = await after.admin("DELETE", "/moves")
    assert (gone.status, gone.body["deleted_entries"]["input"]) == (200, 1)
    # The next one of its name is another service: the tokens of the first do not open it.
    again = await after.admin("PUT", "/moves?adopt=true", {"token": TOKEN})
    assert (again.status, again.body["input"]["length"]) == (201, 0)
    assert (await after.client("GET", "moves", token=made)).status == 403
    assert (await after.client("GET", "moves", token=TOKEN)).status == 204
    assert (await after.admin("DELETE", "/moves")).status == 200


async def test_without_adopt_a_new_service_shares_nothing_with_that_of_the_environment(
    start_service: StartService, session: aiohttp.ClientSession
) -> None:
    before = Replica(session, (await start_service({"name": "moves"})).url)
    await before.client("POST", "moves", b"stays", token=TOKEN)
    after = Replica(session, (await start_service({"name": "other"})).url)
    made = await after.admin("PUT", "/moves", {"token": TOKEN})
    assert (made.status, made.body["input"]["length"]) == (201, 0)
    assert (await after.admin("DELETE", "/moves")).status == 200
    stayed = await before.client("GET", "moves", token=TOKEN, _auto_delete_="true")
    assert stayed.body == b"stays"


async def test_adopt_is_true_or_false(serve: Serve, session: aiohttp.ClientSession) -> None:
    refused = await Replica(session, await serve()).admin("PUT", "/bad?adopt=yes", {})
    assert (refused.status, refused.code) == (400, Code.BAD_PARAMETER)
    assert "true or false" in refused.body["message"]


async def test_a_bare_mount_serves_the_oldest_service(
    serve: Serve, session: aiohttp.ClientSession
) -> None:
    base = await serve(services=(), bare_mount=True)
    replica = Replica(session, base)
    for name in ("young", "younger"):
        assert (await replica.admin("PUT", f"/{name}", {"token": TOKEN})).status == 201
    await replica.admin("PUT", "/young", {"max_delivery": 1})
    headers = {"Authorization": TOKEN}
    async with session.post(f"{base}/", data=b"bare", headers=headers) as answer:
        assert answer.status == 200
    assert (await replica.admin("GET", "/young")).body["input"]["length"] == 1
    for name in ("young", "younger"):
        await replica.admin("DELETE", f"/{name}")
