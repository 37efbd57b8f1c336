"""What a job costs Redis: the script calls of each request, and none for a client that waits."""

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from queue_service.store.prelude import read_sources
from tests.conftest import StartWorker
from tests.queue_service.web.jobs.api import JobsApi
from tests.waiting import wait_until

pytestmark = pytest.mark.leaves_entries

_VERBS = {hashlib.sha1(text.encode()).hexdigest(): verb for verb, text in read_sources().items()}


#: Of one wait: the look that finds the end, and one more where the minute falls into it after which
#: all followers look.
_LOOKS_OF_A_WAIT = ({"look": 1}, {"look": 2})


class Calls:
    """The script calls of one service, as Redis' MONITOR reports them."""

    def __init__(self, redis: Redis, service: str) -> None:
        self._redis = redis
        self._service = service
        self._seen: Counter[str] = Counter()
        self._mark = 0

    async def listen(self) -> None:
        """Count until cancelled."""
        async with self._redis.monitor() as monitor:
            async for command in monitor.listen():
                words = command["command"].split(" ")
                if words[0] == "EVALSHA" and f"{{{self._service}}}" in command["command"]:
                    self._seen[_VERBS[words[1]]] += 1
                elif words[0] == "ECHO":
                    self._mark = int(words[1])

    async def since_last(self) -> dict[str, int]:
        """Return what clients of jobs have called since this was asked before."""
        mark = self._mark + 1000

        async def reached() -> bool:
            await self._redis.echo(str(mark))
            return self._mark == mark

        # Everything before the mark was reported before it.
        await wait_until(reached, "MONITOR reports")
        found = {verb: self._seen[verb] for verb in ("submit", "look", "get") if self._seen[verb]}
        self._seen.clear()
        return found


@pytest.fixture
async def calls(redis_url: str, api: JobsApi) -> AsyncIterator[Calls]:
    """Count the calls for the service of this test."""
    async with Redis.from_url(redis_url, decode_responses=True) as redis:
        made = Calls(redis, api.service)
        listening = asyncio.create_task(made.listen())
        await made.since_last()
        yield made
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


async def test_a_job_costs_one_call_to_submit_and_one_for_the_response(
    api: JobsApi, calls: Calls, start_worker: StartWorker
) -> None:
    job_id = await api.submit()
    assert await calls.since_last() == {"submit": 1}

    waiting = asyncio.create_task(api.call("GET", f"/{job_id}/result?wait=60"))
    seen: Counter[str] = Counter()

    async def waits() -> bool:
        seen.update(await calls.since_last())
        return bool(seen)

    await wait_until(waits, "the client waits")
    assert seen in _LOOKS_OF_A_WAIT
    await start_worker(api.url, api.service)
    assert (await waiting).body == b"x"
    assert await calls.since_last() in _LOOKS_OF_A_WAIT, "none for its start"

    assert (await api.call("GET", f"/{job_id}/result")).body == b"x"
    assert await calls.since_last() == {"look": 1}
    answer = await api.call("POST", "?wait=60", data=b"y")
    assert (answer.status, answer.body) == (200, b"y")
    assert await calls.since_last() in [{"submit": 1, **looks} for looks in _LOOKS_OF_A_WAIT]
