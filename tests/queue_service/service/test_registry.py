"""What the registry says, be it said by two at once or by nobody in their right mind."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from client_sdk.wire.codes import Code
from tests.queue_service.service.replica import TOKEN, Replica
from tests.running import QueueServiceProcess
from tests.waiting import wait_until

#: So often two operators do something in the same moment.
TIMES = 10

GARBAGE = {
    "no record": b"garbage",
    "no text": b"\xff\xfe 2 running {}",
    "no numbers": b"x y running {}",
    "the state of another version": b"1 2 paused {}",
    "broken JSON": b"1 2 running {",
    "other JSON": b"1 2 running []",
    "a newer format": b'1 2 running {"format": 2, "settings": {"token": "x"}}',
    "no format": b'1 2 running {"format": "x", "settings": {"token": "x"}}',
    "deep JSON": b"1 2 running " + b"[" * 5000,
}


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator["Redis"]:
    opened = Redis.from_url(redis_url)
    yield opened
    await opened.aclose()


async def test_records_that_nobody_can_read_disturb_no_other_service(
    pair: tuple[Replica, Replica],
    processes_of_one: list[QueueServiceProcess],
    redis: "Redis",
    key_prefix: str,
) -> None:
    one, two = pair
    await one.admin("PUT", "/new", {"token": TOKEN})
    key = f"{key_prefix}:{{*}}:services"
    for name, record in GARBAGE.items():
        await redis.hset(key, name, record)
    await redis.hset(key, b"\xff", b"1 2 running {}")
    await redis.hincrby(key, "#revision", 1)
    await redis.hset(f"{key_prefix}:{{*}}:replicas", "somebody", "garbage")

    for replica, process in zip(pair, processes_of_one, strict=True):
        assert (await replica.client("GET", "nobody")).status == 404, "the registry was read"
        assert (await replica.client("POST", "new", b"x")).status == 200
        assert len((await replica.admin("GET")).body["replicas"]) == 2
        assert process.running
    await redis.hdel(key, b"\xff", *GARBAGE)
    await two.client("DELETE", "new", _trunc_="true", _index_="9")


async def test_a_service_whose_record_breaks_goes_on_until_it_is_made_again(
    pair: tuple[Replica, Replica], redis: "Redis", key_prefix: str
) -> None:
    one, two = pair
    await one.admin("PUT", "/new", {"token": TOKEN})
    assert (await two.client("POST", "new", b"x")).status == 200
    key = f"{key_prefix}:{{*}}:services"
    await redis.hset(key, "new", b"garbage")
    await redis.hincrby(key, "#revision", 1)
    assert (await two.client("GET", "nobody")).status == 404, "the registry was read"
    assert await two.length("new") == 1
    assert (await two.admin("PUT", "/new", {"token": TOKEN})).status in (200, 201)
    assert (await one.client("GET", "new", _count_="true")).body == b"0", "its entries are gone"


async def test_of_two_that_make_a_service_at_once_neither_gets_a_token_that_opens_nothing(
    pair: tuple[Replica, Replica],
) -> None:
    for number in range(TIMES):
        name = f"s{number}"
        made = await asyncio.gather(*(replica.admin("PUT", f"/{name}", {}) for replica in pair))
        tokens = [answer.body["token"] for answer in made if "token" in answer.body]
        assert len(tokens) == 1, [answer.status for answer in made]
        opened = await pair[0].client("GET", name, token=tokens[0], _count_="true")
        assert opened.status == 200
        assert sorted(answer.status for answer in made) == [200, 201]


async def test_a_service_that_is_stopped_while_it_is_deleted_does_not_come_back(
    pair: tuple[Replica, Replica],
) -> None:
    one, two = pair
    for _ in range(TIMES):
        await one.admin("PUT", "/new", {"token": TOKEN})
        stopped, deleted, started = await asyncio.gather(
            one.admin("POST", "/new/stop"),
            two.admin("DELETE", "/new"),
            two.admin("POST", "/new/start"),
        )
        assert deleted.status == 200
        assert {stopped.status, started.status} <= {200, 404}
        assert (await two.admin("GET", "/new")).code == Code.NO_SUCH_SERVICE

        async def gone_from_the_other() -> bool:
            # It learns of the deletion from a ring.
            return (await one.admin("GET", "/new")).code == Code.NO_SUCH_SERVICE

        await wait_until(gone_from_the_other, "the other process knows it too")


async def test_stopping_a_service_takes_back_nothing_that_was_changed_meanwhile(
    pair: tuple[Replica, Replica],
) -> None:
    one, two = pair
    await one.admin("PUT", "/new", {"token": TOKEN})
    for number in range(1, TIMES):
        verb, state = (("stop", "stopped"), ("start", "running"))[number % 2]
        answers = await asyncio.gather(
            one.admin("POST", f"/new/{verb}"), two.admin("PUT", "/new", {"max_delivery": number})
        )
        assert [answer.status for answer in answers] == [200, 200]
        now = (await one.admin("GET", "/new")).body
        assert (now["max_delivery"], now["state"]) == (number, state)


async def test_a_description_in_a_newer_format_is_left_to_those_who_can_read_it(
    pair: tuple[Replica, Replica], redis: "Redis", key_prefix: str
) -> None:
    one, two = pair
    await one.admin("PUT", "/new", {"token": TOKEN})
    assert (await two.client("POST", "new", b"x")).status == 200
    key = f"{key_prefix}:{{*}}:services"
    before = await redis.hget(key, "new")
    revision = await redis.hincrby(key, "#revision", 1)
    assert isinstance(before, bytes)
    _, incarnation, _ = before.split(b" ", 2)
    newer = b'%d %s running {"format": 2, "settings": {"token": "another"}}' % (
        revision,
        incarnation,
    )
    await redis.hset(key, "new", newer)
    # It is served as it was known; nobody who cannot read what is there writes over it.
    assert (await one.client("GET", "nobody")).status == 404, "the registry was read"
    assert await one.length("new") == 1
    for method, path, body in (
        ("PUT", "/new", {"max_delivery": 3}),
        ("POST", "/new/stop", None),
        ("DELETE", "/new", None),
    ):
        assert (await one.admin(method, path, body)).status == 412
    assert await redis.hget(key, "new") == newer
    # One without a number is of the first format.
    settings = b'{"settings": {"token": "%s", "max_delivery": 7}}' % TOKEN.encode()
    revision = await redis.hincrby(key, "#revision", 1)
    await redis.hset(key, "new", b"%d %s running %s" % (revision, incarnation, settings))
    assert (await one.client("GET", "nobody")).status == 404, "the registry was read"
    assert (await one.admin("GET", "/new")).body["max_delivery"] == 7
