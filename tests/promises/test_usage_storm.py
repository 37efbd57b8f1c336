"""After a storm with killed processes, usage is the sum of the jobs, to the millisecond."""

import asyncio
import json
import os
import random
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis

from tests.conftest import StartService
from tests.promises.conftest import Client, Peers
from tests.promises.peer import Peer
from tests.promises.test_storm import ACCEPTED_S, LEASE_MS, Storm
from tests.running import ADMIN_TOKEN
from tests.waiting import wait_until

STEPS, KILLS = 800, 3


class JobStorm(Storm):
    """A storm of jobs, whose tickets say when each began and ended."""

    async def put(self, _: Peer) -> None:
        job = f"job-{self.random.getrandbits(64):x}"

        async def accepted() -> bool:
            url = self.random.choice(self.services).url
            try:
                async with self.client.session.put(
                    f"{url}/v1/services/svc/jobs/{job}", data=job.encode()
                ) as answer:
                    return answer.status in (200, 202)
            except aiohttp.ClientError:
                return False

        await wait_until(accepted, f"{job} is accepted", ACCEPTED_S)
        self.accepted.append(job)


async def _usage(client: Client) -> dict[str, Any]:
    headers = {"Authorization": ADMIN_TOKEN}
    async with client.session.get(f"{client.url}/v1/usage", headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        return dict((await answer.json())["total"])


@pytest.mark.timeout(600)
@pytest.mark.leaves_entries
async def test_usage_after_a_storm_is_the_sum_of_the_jobs(
    start_service: StartService, client: Client, peers: Peers, redis: Redis, key_prefix: str
) -> None:
    seed = int(os.environ.get("PENSTOCK_STORM_SEED") or random.SystemRandom().getrandbits(32))
    print(f"PENSTOCK_STORM_SEED={seed}")
    service = {"name": "svc", "max_delivery": 0}
    services = [await start_service(service, lease_ms=LEASE_MS) for _ in range(2)]
    storm = JobStorm(seed, services, client, peers)
    for peer in peers:
        await storm.connect(peer)
    kills = set(storm.random.sample(range(STEPS // 10, STEPS * 9 // 10), KILLS))
    for number in range(STEPS):
        await storm.step()
        if number in kills:
            await storm.kill_a_service()
    await asyncio.gather(*storm.starting.values())
    client.url = services[0].url

    async def all_ended() -> bool:
        for peer in peers:
            await storm.take(storm.complete, peer)
        return await client.length() == 0

    await wait_until(all_ended, "every accepted job has ended", 120)
    tickets = {
        job: json.loads(text)
        for job, text in (await redis.hgetall(f"{key_prefix}:{{svc}}:tickets")).items()
    }
    assert set(tickets) == set(storm.accepted)
    done = [ticket for ticket in tickets.values() if ticket["state"] == "succeeded"]
    usage = await _usage(client)
    # Each job has ended once, and the answer that ended it ran from its last start to its end.
    assert usage["succeeded"] == usage["deliveries"] == len(done)
    assert usage["succeeded"] + usage["failed"] == len(tickets) == usage["started"]
    assert usage["worker_ms"] == sum(int(one["ended_at"] - one["started_at"]) for one in done)
    # Every other delivery was wasted; their number is that of the attempts.
    attempts = sum(int(ticket["attempt"]) for ticket in tickets.values())
    assert usage["deliveries"] + usage["wasted_deliveries"] == attempts
    assert usage["wasted_deliveries"] > 0
    # No moment counts twice: waiting and runs fit between the put and the end of each job.
    lived_ms = sum(int(one["ended_at"] - one["put_at"]) for one in tickets.values())
    assert usage["wait_ms"] + usage["worker_ms"] + usage["wasted_worker_ms"] <= lived_ms
    assert usage["bytes_in"] == sum(map(len, storm.accepted))
