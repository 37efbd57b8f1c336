"""Services that are made, changed, stopped and deleted while the queue service runs."""

import asyncio

import aiohttp
import pytest
from redis.asyncio import Redis

from client_sdk.wire.codes import CloseCode, Code
from tests.conftest import StartService
from tests.queue_service.service.replica import TOKEN, Replica
from tests.running import QueueServiceProcess
from tests.waiting import wait_until


async def test_a_service_made_in_one_process_is_served_by_the_other_at_once(
    pair: tuple[Replica, Replica],
) -> None:
    one, two = pair
    made = await one.admin("PUT", "/new", {"token": TOKEN, "sink": {"max_length": 7}})
    assert (made.status, made.body["state"], made.body["origin"]) == (201, "running", "registry")
    assert made.body["sink"]["capacity"] == 7
    assert made.body["settings"]["sink"]["max_length"] == 7

    put = await two.client("POST", "new", b"first")
    assert (put.status, put.body) == (200, b"1")
    got = await one.client("GET", "new", _auto_delete_="true")
    assert got.body == b"first"


async def test_work_crosses_processes_for_a_new_service_as_for_any_other(
    pair: tuple[Replica, Replica],
) -> None:
    one, two = pair
    await one.admin("PUT", "/new", {"token": TOKEN})
    async with two.watch("new") as socket:
        await one.client("POST", "new", b"told by a ring")
        assert b"told by a ring" in await asyncio.wait_for(socket.receive_bytes(), 30)
        await one.client("PUT", "new", _indexes_="1")


async def test_other_settings_keep_entries_and_subscribers(pair: tuple[Replica, Replica]) -> None:
    one, two = pair
    await one.admin("PUT", "/new", {"token": TOKEN})
    async with two.watch("new/sink") as socket:
        for number in range(3):
            await one.client("POST", "new", b"%d" % number)
        changed = await one.admin("PUT", "/new", {"input": {"max_length": 3}, "max_delivery": 2})
        assert (changed.status, changed.body["input"]["length"]) == (200, 3)

        async def refused_by_both() -> bool:
            refusals = [await replica.client("POST", "new", b"more") for replica in pair]
            return {(refusal.status, refusal.code) for refusal in refusals} == {
                (429, Code.QUEUE_FULL)
            }

        await wait_until(refused_by_both, "both processes know the new length")
        assert await two.length("new") >= 3

        # The watch that was there before is still served, by what now holds for the sink.
        await one.client("POST", "new/sink", b"a result")
        assert b"a result" in await asyncio.wait_for(socket.receive_bytes(), 30)


async def test_a_deleted_service_says_what_went_and_ends_its_subscribers(
    pair: tuple[Replica, Replica], redis_url: str, key_prefix: str
) -> None:
    one, two = pair
    await one.admin("PUT", "/new", {"token": TOKEN})
    for number in range(3):
        await one.client("POST", "new", b"%d" % number)
    await two.client("POST", "new/sink", b"a result")
    poll = asyncio.create_task(two.client("GET", "new", _index_="99", _timeout_="60s"))
    async with one.watch("new/sink") as here, two.watch("new") as there:
        await asyncio.gather(here.receive_bytes(), there.receive_bytes())
        deleted = await one.admin("DELETE", "/new")
        assert deleted.body == {
            "name": "new",
            "deleted_entries": {"input": 3, "sink": 1},
            "deleted_dead_letters": {"input": 0, "sink": 0},
        }
        for socket in (here, there):
            while (message := await asyncio.wait_for(socket.receive(), 30)).type.name != "CLOSE":
                pass
            assert message.data == CloseCode.SERVICE_DELETED
        assert (await asyncio.wait_for(poll, 30)).status in (204, 404)

    async with Redis.from_url(redis_url, decode_responses=True) as redis:

        async def nothing_left() -> bool:
            return not [key async for key in redis.scan_iter(match=f"{key_prefix}:{{new}}*")]

        await wait_until(nothing_left, "no key of the service is left")
    # Its token went with it, and who has none is not told which services there are.
    for replica in pair:
        refused = await replica.client("POST", "new", b"too late")
        assert (refused.status, refused.code) == (401, Code.UNAUTHORIZED)


async def test_a_service_made_again_shares_nothing_with_the_old_one(
    pair: tuple[Replica, Replica],
) -> None:
    one, two = pair
    for _ in range(3):
        await one.admin("PUT", "/new", {"token": TOKEN})
        assert (await two.client("POST", "new", b"an entry")).body == b"1"
        assert await one.length("new") == 1
        deleted = await two.admin("DELETE", "/new")
        assert deleted.body["deleted_entries"]["input"] == 1


async def test_a_service_of_the_environment_is_not_changed_here(
    pair: tuple[Replica, Replica],
) -> None:
    one, _ = pair
    shown = await one.admin("GET", "/fixed")
    assert (shown.body["origin"], shown.body["revision"]) == ("environment", 0)
    for method, path, body in (
        ("PUT", "/fixed", {"max_delivery": 1}),
        ("DELETE", "/fixed", None),
        ("POST", "/fixed/stop", None),
    ):
        refused = await one.admin(method, path, body)
        assert (refused.status, refused.code) == (409, Code.CONFLICT), method
        assert "PENSTOCK_SERVICES" in refused.body["message"]


async def test_a_process_that_dies_is_listed_no_more(
    pair: tuple[Replica, Replica], processes_of_one: list[QueueServiceProcess]
) -> None:
    one, _ = pair
    await one.admin("PUT", "/new", {"token": TOKEN})

    async def listed() -> list[int]:
        replicas = (await one.admin("GET", "/new")).body["replicas"]
        return sorted(replica["about"]["pid"] for replica in replicas)

    await wait_until(listed, "both are listed")
    assert len(await listed()) == 2
    await processes_of_one[1].stop()
    assert len(await listed()) == 1


async def test_a_restart_keeps_services_and_entries(
    start_service: StartService, session: aiohttp.ClientSession
) -> None:
    process = await start_service({"name": "fixed"})
    replica = Replica(session, process.url)
    await replica.admin("PUT", "/new", {"token": TOKEN, "max_delivery": 9})
    await replica.admin("PUT", "/still", {"token": TOKEN})
    await replica.admin("POST", "/still/stop")
    await replica.client("POST", "new", b"kept")
    process.kill()
    await process.start()
    assert (await replica.client("GET", "new", _auto_delete_="true")).body == b"kept"
    assert (await replica.admin("GET", "/new")).body["max_delivery"] == 9
    assert (await replica.client("GET", "still")).code == Code.SERVICE_STOPPED
    for name in ("new", "still"):
        await replica.admin("DELETE", f"/{name}")


async def test_a_stopped_service_refuses_everybody_and_keeps_its_entries(alone: Replica) -> None:
    await alone.client("POST", "new", b"kept")
    async with alone.watch("new/sink") as socket:
        stopped = await alone.admin("POST", "/new/stop")
        assert (stopped.body["state"], stopped.body["replicas"]) == ("stopped", [])
        assert (await asyncio.wait_for(socket.receive(), 30)).data == CloseCode.SERVICE_STOPPED
    for method in ("POST", "GET"):
        refused = await alone.client(method, "new", b"more")
        assert (refused.status, refused.code) == (503, Code.SERVICE_STOPPED)
    assert (await alone.client("POST", "new", token="wrong")).status == 401
    # Other settings do not start it.
    assert (await alone.admin("PUT", "/new", {})).body["state"] == "stopped"

    assert (await alone.admin("POST", "/new/start")).body["state"] == "running"
    assert (await alone.client("GET", "new", _auto_delete_="true")).body == b"kept"
    async with alone.watch("new/sink") as socket:
        await alone.client("POST", "new/sink", b"watched")
        assert b"watched" in await asyncio.wait_for(socket.receive_bytes(), 30)


async def test_a_token_is_shown_once_and_kept_as_a_hash(
    alone: Replica, redis_url: str, key_prefix: str
) -> None:
    made = await alone.admin("PUT", "/given", {})
    token = made.body["token"]
    assert (await alone.client("GET", "given", token=token)).status == 204
    assert (await alone.client("GET", "given", token="")).status == 401
    shown = await alone.admin("GET", "/given")
    assert token not in str(shown.body)
    async with Redis.from_url(redis_url, decode_responses=True) as redis:
        written = await redis.hgetall(f"{key_prefix}:{{*}}:services")
        assert token not in str(written)

    await alone.admin("PUT", "/given", {"max_delivery": 1})
    assert (await alone.client("GET", "given", token=token)).status == 204
    await alone.admin("PUT", "/given", {"token": "another"})
    assert (await alone.client("GET", "given", token=token)).status == 401
    assert (await alone.client("GET", "given", token="another")).status == 204
    await alone.admin("PUT", "/given", {"token": ""})
    assert (await alone.client("GET", "given", token="")).status == 204
    await alone.admin("DELETE", "/given")


async def test_a_change_is_refused_that_is_based_on_an_older_one(alone: Replica) -> None:
    first = await alone.admin("GET", "/new")
    etag = first.headers["ETag"]
    changed = await alone.admin("PUT", "/new", {"max_delivery": 1}, If_Match=etag)
    assert changed.status == 200
    for method, headers in (
        ("PUT", {"If_Match": etag}),
        ("DELETE", {"If_Match": etag}),
        ("PUT", {"If_None_Match": "*"}),
    ):
        refused = await alone.admin(method, "/new", {"max_delivery": 2}, **headers)
        assert (refused.status, refused.code) == (412, Code.CONFLICT)
    assert (await alone.admin("GET", "/new")).body["max_delivery"] == 1


@pytest.mark.parametrize(
    ("name", "body", "says"),
    [
        ("bad", {"max_delivery": -1}, ("max_delivery", "-1")),
        ("bad", {"sink": {"max_length": 0}}, ("sink.max_length", "0")),
        ("bad", {"input": {"max_length": 5, "max_payload_size_kb": 8}}, ("input", "not both")),
        ("bad", {"max_lenght": 5}, ("max_lenght", "max_length")),
        ("bad", {"name": "other"}, ("name", "bad", "other")),
        ("bad", [], ("object", "list")),
        ("ba%20d", {}, ("name",)),
    ],
)
async def test_bad_settings_make_no_service(
    alone: Replica, name: str, body: object, says: tuple[str, ...]
) -> None:
    refused = await alone.admin("PUT", f"/{name}", body)
    assert (refused.status, refused.code) == (400, Code.BAD_PARAMETER), refused
    for word in says:
        assert word in refused.body["message"]
    assert len((await alone.admin("GET")).body["services"]) == 2


async def test_nobody_else_makes_or_deletes_services(
    alone: Replica, session: aiohttp.ClientSession
) -> None:
    for method, path in (
        ("GET", ""),
        ("PUT", "/other"),
        ("DELETE", "/new"),
        ("POST", "/new/stop"),
        ("POST", "/new/start"),
    ):
        for token in ("", TOKEN):
            async with session.request(
                method, f"{alone.url}/v1/services{path}", headers={"Authorization": token}
            ) as answer:
                assert answer.status == 401


async def test_what_is_not_there_is_not_deleted(alone: Replica) -> None:
    for method, path in (("DELETE", "/nobody"), ("GET", "/nobody"), ("POST", "/nobody/stop")):
        refused = await alone.admin(method, path)
        assert (refused.status, refused.code) == (404, Code.NO_SUCH_SERVICE)


async def test_a_shorter_queue_keeps_what_it_has_and_takes_no_more(alone: Replica) -> None:
    for number in range(5):
        await alone.client("POST", "new", b"%d" % number)
    await alone.admin("PUT", "/new", {"input": {"max_length": 2}})
    assert (await alone.client("POST", "new", b"more")).status == 429
    assert await alone.length("new") == 5
