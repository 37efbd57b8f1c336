"""A backup of a live Redis, restored on an empty machine while workers hold what they held."""

import asyncio
import io
import json
import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis
from typer.testing import CliRunner

from deploy.backup.archive import Writer, read
from deploy.backup.errors import BackupFailed, BadBackup, StoreInUse, StoreNotEmpty
from deploy.backup.external import restore_external, save_external
from deploy.backup.replay import JUMP
from deploy.backup.restore import checked
from deploy.cli import app
from deploy.local.redis_server import RedisServer
from tests.promises.conftest import Client, Peers
from tests.running import QueueServiceProcess, service_env
from tests.waiting import wait_until

pytestmark = pytest.mark.timeout(180)

PREFIX = "ps"


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(headers={"Authorization": "a-test-token"}) as opened:
        yield opened


@pytest.fixture
def client(session: aiohttp.ClientSession) -> Client:
    return Client(session, "")


@pytest.fixture
async def peers(session: aiohttp.ClientSession) -> AsyncIterator[Peers]:
    made = Peers(session)
    yield made
    for peer in made:
        await peer.cut()


async def _stored(url: str) -> dict[bytes, Any]:
    """Give everything that a Redis stores, by key, without the announcements of processes."""
    redis = Redis.from_url(url)
    found: dict[bytes, Any] = {}
    try:
        async for key in redis.scan_iter("*"):
            if key.endswith(b":replicas"):
                continue
            kind = await redis.type(key)
            match kind:
                case b"hash":
                    found[key] = await redis.hgetall(key)
                case b"zset":
                    found[key] = await redis.zrange(key, 0, -1, withscores=True)
                case b"stream":
                    found[key] = await redis.xrange(key)
                case b"list":
                    found[key] = await redis.lrange(key, 0, -1)
                case b"set":
                    found[key] = await redis.smembers(key)
                case _:
                    found[key] = await redis.get(key)
    finally:
        await redis.aclose()
    return found


def _service(url: str, tmp_path: Path, port: int | None = None) -> QueueServiceProcess:
    services: list[dict[str, object]] = [{"name": "svc"}]
    env = service_env(redis_url=url, key_prefix=PREFIX, services=services, lease_ms=3000)
    return QueueServiceProcess(env, log_path=tmp_path / "service.log", port=port)


async def _back_up(url: str) -> bytes:
    file = io.BytesIO()
    await save_external(file, url)
    return file.getvalue()


async def _restore(data: bytes, url: str, *, force: bool = False) -> None:
    await restore_external(checked(io.BytesIO(data)), url, force=force)


async def test_on_an_empty_machine_nothing_runs_twice_and_nothing_answered_is_lost(
    machines: tuple[RedisServer, RedisServer],
    tmp_path: Path,
    session: aiohttp.ClientSession,
    client: Client,
    peers: Peers,
) -> None:
    old, new = machines
    service = _service(old.url, tmp_path)
    try:
        await service.start()
        client.url = service.url
        stays, dies = peers.make(1), peers.make(1)
        answered = [await client.put(b"answered %d" % number) for number in range(3)]
        await stays.connect(service.url)
        for _ in answered:
            await wait_until(lambda: stays.held, "it is delivered")
            await stays.complete(*stays.held)
        await wait_until(lambda: client.has_length(3, "/sink"), "three are answered")
        held, _ = await client.put(b"held")
        await wait_until(lambda: stays.held, "a job runs")
        await dies.connect(service.url)
        orphan, _ = await client.put(b"orphan")
        await wait_until(lambda: dies.held, "another one runs")
        waiting, _ = await client.put(b"waits")

        backup = await _back_up(old.url)
        # What comes after the backup is lost with the machine.
        lost, _ = await client.put(b"lost")
        service.kill()
        await old.kill()
        await stays.cut()
        await dies.vanish()

        await _restore(backup, new.url)
        service = _service(new.url, tmp_path, port=service.port)
        await service.start()
        welcome = await stays.connect(service.url)
        assert (welcome.lost, list(stays.held)) == ((), [held])
        # No new entry has an index that was given before.
        fresh, _ = await client.put(b"fresh")
        assert fresh > lost + JUMP // 2
        runs: dict[int, int] = {}
        while len(runs) < 4:
            await wait_until(lambda: stays.held, "the next one is delivered")
            for index, delivery in stays.held.items():
                runs[index] = delivery.attempt
            await stays.complete(*stays.held)
        # The one whose worker is gone has its second attempt, and every other one its first.
        assert runs == {held: 1, waiting: 1, fresh: 1, orphan: 2}
        await wait_until(lambda: client.has_length(7, "/sink"), "all are answered")
        results = [frame.data for frame in await client.read(10)]
        assert sorted(results) == sorted(
            [b"answered 0", b"answered 1", b"answered 2", b"held", b"waits", b"fresh", b"orphan"]
        )
    finally:
        service.kill_all()


async def test_every_kind_of_key_is_restored_as_it_was(
    machines: tuple[RedisServer, RedisServer],
) -> None:
    old, new = machines
    redis = Redis.from_url(old.url)
    for number in range(1200):
        await redis.xadd(
            f"{PREFIX}:{{svc}}:input:lane:0", {"d": b"\x00\r\n%d" % number}, f"{number + 1}-0"
        )
    await redis.xdel(f"{PREFIX}:{{svc}}:input:lane:0", "1200-0", "7-0")
    await redis.hset(f"{PREFIX}:{{svc}}:tickets", mapping={f"t{n}": "x" * 50 for n in range(2000)})
    await redis.zadd(
        f"{PREFIX}:{{svc}}:times", {f"m{n}": 1764000000000 + n / 8 for n in range(2000)}
    )
    await redis.rpush(f"{PREFIX}:{{svc}}:history", *range(1200))
    await redis.sadd(f"{PREFIX}:{{svc}}:some", *range(1200))
    for number in range(300):
        await redis.set(f"{PREFIX}:{{svc}}:idempotency:{number}", number, px=3_600_000 + number)
        await redis.xadd(f"{PREFIX}:{{svc}}:events:{number}", {"k": "delta"})
    await redis.set("another-program:key", "stays out")
    await redis.aclose()

    data = await _back_up(old.url)
    await _restore(data, new.url)
    wanted, found = await _stored(old.url), await _stored(new.url)
    del wanted[b"another-program:key"]
    assert found == wanted
    restored = Redis.from_url(new.url)
    assert 0 < await restored.pttl(f"{PREFIX}:{{svc}}:idempotency:7") <= 3_600_007
    # An index that was given is not given again, although its entry is gone.
    about = await restored.xinfo_stream(f"{PREFIX}:{{svc}}:input:lane:0")
    assert about["last-generated-id"] == b"1200-0"
    await restored.aclose()


async def test_what_changes_while_the_entries_are_copied_is_as_it_is_at_the_end(
    machines: tuple[RedisServer, RedisServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writes that come between the two parts of the reading, and writers that never stop."""
    old, new = machines
    redis = Redis.from_url(old.url)
    lane = f"{PREFIX}:{{svc}}:input:lane:0"

    async def move(number: int) -> None:
        """Add an entry and remove an older one, and keep the books of both."""
        pipe = redis.pipeline()
        pipe.xadd(lane, {"d": str(number)}, f"{number}-0")
        pipe.hset(f"{PREFIX}:{{svc}}:books", f"{number}-0", "there")
        if number > 50:
            pipe.xdel(lane, f"{number - 50}-0")
            pipe.hdel(f"{PREFIX}:{{svc}}:books", f"{number - 50}-0")
            pipe.set(f"{lane}:full", 1)
        await pipe.execute()

    ended = False

    async def write() -> int:
        number = 0
        while not ended:
            number += 1
            await move(number)
        return number

    writing = asyncio.create_task(write())
    await wait_until(lambda: redis.exists(f"{lane}:full"), "there are entries")
    backups = [await _back_up(old.url) for _ in range(5)]
    ended = True
    assert await writing > 50
    await redis.aclose()
    for data in backups:
        await _restore(data, new.url, force=True)
        found = await _stored(new.url)
        ids = {entry_id for entry_id, _ in found[lane.encode()]}
        assert ids == found[f"{PREFIX}:{{svc}}:books".encode()].keys()


async def test_a_restore_replaces_nothing_unless_it_is_forced(
    machines: tuple[RedisServer, RedisServer], tmp_path: Path
) -> None:
    old, new = machines
    redis, there = Redis.from_url(old.url), Redis.from_url(new.url)
    await redis.set(f"{PREFIX}:tokens", "of the backup")
    data = await _back_up(old.url)
    await there.set(f"{PREFIX}:other", "mine")
    with pytest.raises(StoreNotEmpty):
        await _restore(data, new.url)
    assert await there.get(f"{PREFIX}:other") == b"mine"
    await _restore(data, new.url, force=True)
    assert await there.keys() == [f"{PREFIX}:tokens".encode()]

    service = _service(new.url, tmp_path)
    try:
        await service.start()
        with pytest.raises(StoreInUse):
            await _restore(data, new.url, force=True)
    finally:
        await service.stop()
        service.kill_all()
    await redis.aclose()
    await there.aclose()


async def test_a_damaged_file_changes_nothing(
    machines: tuple[RedisServer, RedisServer],
) -> None:
    old, new = machines
    redis, there = Redis.from_url(old.url), Redis.from_url(new.url)
    await redis.set(f"{PREFIX}:one", "x" * 3000)
    data = await _back_up(old.url)
    at = data.index(b"x" * 3000)
    damaged = {
        "cut in the middle": data[: at + 100],
        "cut before its end": data[: data.index(b"end.json")],
        "cut before the last member": data[: data.index(b"redis/000001")],
        "changed": data[:at] + b"y" + data[at + 1 :],
        "empty": b"",
        "something else": b"hello" * 1000,
    }
    for what, came in damaged.items():
        with pytest.raises(BadBackup):
            await _restore(came, new.url, force=True)
        assert await there.dbsize() == 0, what
    await redis.aclose()
    await there.aclose()


@pytest.mark.parametrize(
    "commands",
    [
        b"*1\r\n$8\r\nFLUSHALL\r\n",
        b"*3\r\n$3\r\nSET\r\n$5\r\nother\r\n$1\r\nx\r\n",
        b"*3\r\n$3\r\nSET\r\n$5\r\nps:on",
        b"PING\r\n",
        b"*3\r\n$6\r\nUNLINK\r\n$4\r\nps:x\r\n$5\r\nother\r\n",
    ],
)
async def test_only_commands_of_a_backup_are_run(
    machines: tuple[RedisServer, RedisServer], commands: bytes
) -> None:
    file = io.BytesIO()
    writer = Writer(file, {"key_prefix": PREFIX})
    writer.add("redis/000001.resp", b"*3\r\n$3\r\nSET\r\n$4\r\nps:x\r\n$1\r\nx\r\n")
    writer.add("redis/000002.resp", commands)
    writer.end()
    with pytest.raises(BadBackup):
        await _restore(file.getvalue(), machines[1].url)
    # Not even a part of it is left.
    assert await _stored(machines[1].url) == {}
    # The commands find out before anything that is there is removed.
    with pytest.raises(BadBackup):
        checked(io.BytesIO(file.getvalue()))


async def test_a_newer_format_is_refused() -> None:
    file = io.BytesIO()
    writer = Writer(file, {"key_prefix": PREFIX, "format": 2})
    writer.end()
    with pytest.raises(BadBackup, match="format 2"):
        list(read(io.BytesIO(file.getvalue())))


def test_the_file_is_private_and_has_its_name_only_when_it_is_whole(tmp_path: Path) -> None:
    """The command, with a Redis that does not answer and with one that does."""
    server = RedisServer(tmp_path / "redis")
    asyncio.run(server.start())
    file = tmp_path / "penstock.backup"
    try:
        done = CliRunner().invoke(
            app, ["backup", str(file), "--redis-url", "redis://127.0.0.1:1/0"]
        )
        assert isinstance(done.exception, BackupFailed)
        assert list(tmp_path.iterdir()) == [tmp_path / "redis"]
        old_mask = os.umask(0)
        try:
            done = CliRunner().invoke(app, ["backup", str(file), "--redis-url", server.url])
        finally:
            os.umask(old_mask)
        assert done.exit_code == 0, done.exception
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert json.loads(next(read(io.BytesIO(file.read_bytes()))).data)["format"] == 1
        again = CliRunner().invoke(app, ["backup", str(file), "--redis-url", server.url])
        assert again.exit_code == 2
        assert "--overwrite" in again.output
    finally:
        asyncio.run(server.stop())
