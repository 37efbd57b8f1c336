"""Two versions side by side on one Redis, as they are during an upgrade.

The other version is a copy of this code that is made different where a next one would be: fields
that this one does not know, in every message and in every entry, and a higher number of the worker
protocol.
"""

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest
from redis.asyncio import Redis

from client_sdk import AsyncQueueClient
from client_sdk.wire import names
from tests.conftest import SERVICE, StartWorker
from tests.running import (
    TOKEN,
    QueueServiceProcess,
    ServerProcess,
    WorkerProcess,
    service_env,
    worker_env,
)
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]

#: What the other version writes where, instead of what this one does: file, text, its text.
NEXT = [
    ("client_sdk/wire/versions.py", "\nPROTOCOL = 1", "\nPROTOCOL = 2"),
    # Field 1000 of each message, which nobody knows: a number.
    (
        "client_sdk/wire/worker.py",
        "return proto.SerializeToString()",
        'return proto.SerializeToString() + b"\\xc0\\x3e\\x01"',
    ),
    ("inference_worker/__main__.py", 'version("penstock")', '"99.0"'),
    (
        "queue_service/store/lua/put.lua",
        "'c', content_type }",
        "'c', content_type, 'next', '1' }",
    ),
    (
        "queue_service/store/lua/prelude/entries.lua",
        "'format', format_of[q])",
        "'format', format_of[q], 'next', '1')",
    ),
]

#: What a version would change that stores entries in another way, which this one cannot read.
INCOMPATIBLE = [
    *NEXT,
    ("queue_service/store/lua/prelude/keys.lua", "local FORMAT = 4", "local FORMAT = 5"),
    (
        "queue_service/store/lua/prelude/keys.lua",
        "format_of[q] = tonumber(format or 1)",
        "format_of[q] = 5",
    ),
]


def _other_version(folder: Path, changes: list[tuple[str, str, str]]) -> dict[str, str]:
    """Make it, and return the environment in which Python finds it."""
    for package in ("client_sdk", "queue_service", "inference_worker"):
        without = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, folder / package, ignore=without)
    for name, text, other in changes:
        path = folder / name
        before = path.read_text()
        assert text in before, f"{name} no longer has {text!r}"
        path.write_text(before.replace(text, other))
    # Without the second, `-m` would look into the current folder first.
    return {"PYTHONPATH": str(folder), "PYTHONSAFEPATH": "1"}


StartOther = Callable[[list[tuple[str, str, str]]], Awaitable[QueueServiceProcess]]


@pytest.fixture
def start_other(
    redis_url: str, key_prefix: str, tmp_path: Path, services: list[ServerProcess]
) -> StartOther:
    """Start a queue service of the other version beside those of this one."""

    async def start(changes: list[tuple[str, str, str]]) -> QueueServiceProcess:
        env = service_env(redis_url=redis_url, key_prefix=key_prefix, services=[SERVICE])
        env |= _other_version(tmp_path / "other", changes)
        service = QueueServiceProcess(env, log_path=tmp_path / "other-service.log")
        services.append(service)
        await service.start()
        return service

    return start


async def _echoes(urls: list[str], count: int) -> None:
    """Put jobs at every replica in turn, and read each result at the next one."""
    for number in range(count):
        at, next_ = urls[number % len(urls)], urls[(number + 1) % len(urls)]
        async with (
            AsyncQueueClient(at, "svc", token=TOKEN) as putter,
            AsyncQueueClient(next_, "svc", token=TOKEN) as reader,
        ):
            receipt = await putter.put(f"job {number}", tags={"n": str(number)})
            (frame,) = await reader.sink.get(request_id=receipt.request_id, timeout_s=20)
            assert (frame.data, frame.tags["n"]) == (f"job {number}".encode(), str(number))


async def test_two_versions_side_by_side_serve_each_others_workers_and_read_each_others_entries(
    service: QueueServiceProcess,
    start_other: StartOther,
    start_worker: StartWorker,
    workers: list[ServerProcess],
    tmp_path: Path,
) -> None:
    other = await start_other(NEXT)
    # A worker of each version at the service of the other version, and the other way to go.
    ours = await start_worker(f"{other.url},{service.url}")
    env = worker_env(queue_url=f"{service.url},{other.url}", service="svc")
    env |= {"PYTHONPATH": str(tmp_path / "other"), "PYTHONSAFEPATH": "1"}
    theirs = WorkerProcess(env, log_path=tmp_path / "other-worker.log")
    workers.append(theirs)
    await theirs.start()

    await _echoes([service.url, other.url], 8)
    # Each goes on at a service of its own version when the other's stops, and back again.
    for stopped, left, worker in ((other, service, ours), (service, other, theirs)):
        assert await stopped.stop() == 0
        await _echoes([left.url], 4)
        assert worker.running
        await stopped.start()
    await _echoes([service.url, other.url], 8)


async def test_a_version_refuses_entries_that_are_stored_in_a_newer_way(
    service: QueueServiceProcess, start_other: StartOther
) -> None:
    headers = {"Authorization": TOKEN}
    async with aiohttp.ClientSession(headers=headers) as session:
        ours = f"{service.url}{names.EAS_PREFIX}/svc"
        async with session.post(ours, data=b"of the older") as answer:
            assert answer.status == 200
        other = await start_other(INCOMPATIBLE)
        theirs = f"{other.url}{names.EAS_PREFIX}/svc"
        async with session.post(theirs, data=b"of the newer") as answer:
            assert answer.status == 200

        # What it cannot be sure to understand it leaves alone, and says so.
        for method in ("POST", "GET", "DELETE"):
            query = "?_indexes_=1" if method == "DELETE" else ""
            async with session.request(method, ours + query) as answer:
                assert answer.status == 503
                assert answer.headers[names.ERROR_CODE_HEADER] == "NEWER_FORMAT"
                sentence = await answer.text()
            assert "format 5" in sentence
            assert "format 4" in sentence

        async def not_ready() -> bool:
            async with session.get(f"{service.url}/readyz") as answer:
                return answer.status == 503 and "format 5" in await answer.text()

        await wait_until(not_ready, "a balancer sends nobody here any more")
        assert service.log.count("format 4") == 1

        for text in (b"of the older", b"of the newer"):
            async with session.get(theirs, params={names.AUTO_DELETE: "true"}) as answer:
                assert await answer.read() == text


async def test_entries_from_before_formats_had_numbers_are_read(
    service: QueueServiceProcess, redis_url: str, key_prefix: str
) -> None:
    async with Redis.from_url(redis_url, decode_responses=True) as redis:
        meta = f"{key_prefix}:{{svc}}:input:meta"
        async with AsyncQueueClient(service.url, "svc", token=TOKEN) as client:
            await client.put(b"one")
            assert await redis.hdel(meta, "format") == 1
            (frame,) = await client.get()
            assert frame.data == b"one"
            await client.put(b"two")
            assert await redis.hget(meta, "format") == "1"
            await client.truncate(frame.index + 2)
