"""What there is to do for webhooks, however much there is."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from queue_service.service.webhooks.messages import delivery_of
from queue_service.settings.process import Settings
from queue_service.store.connection import confirmation_for, connect
from queue_service.store.keys import Keys
from queue_service.store.scripts import Scripts
from queue_service.store.webhook_deliveries import BUCKETS_AT_ONCE, WebhookDeliveries


@pytest.fixture
def keys(key_prefix: str) -> Keys:
    return Keys(key_prefix, "svc")


@pytest.fixture
async def deliveries(
    redis_url: str, key_prefix: str, keys: Keys
) -> AsyncIterator[WebhookDeliveries]:
    settings = Settings(redis_url=redis_url, key_prefix=key_prefix)
    confirmation = confirmation_for(settings)
    servers = connect(settings, confirmation)
    opened = WebhookDeliveries(Scripts(servers, confirmation, timeout_s=30.0), keys)
    yield opened
    await opened.remove_all()
    await servers.aclose()


async def test_hosts_that_jobs_name_do_not_hide_an_endpoint(
    deliveries: WebhookDeliveries, keys: Keys, redis: Redis
) -> None:
    hosts = {f"jobs~host-{number}": 1.0 for number in range(BUCKETS_AT_ONCE + 1)}
    await redis.zadd(keys.webhooks("buckets"), {**hosts, "mine": 2.0, "later": 1e15})
    looked = await deliveries.look(["mine", "later", "none"])
    assert looked.buckets[0] == "mine"
    assert len(looked.buckets) == BUCKETS_AT_ONCE + 1
    assert not {"later", "none"} & set(looked.buckets)


async def test_what_waits_for_hosts_that_jobs_name_is_counted(
    deliveries: WebhookDeliveries, keys: Keys, redis: Redis
) -> None:
    for number in range(3):
        names, values = "rsctpemw", (f"job-{number}", "failed", "", "", 0, 1, "m", "")
        await redis.xadd(keys.webhooks(), dict(zip(names, values, strict=True)))
    ends = (await deliveries.look()).ends
    made = [
        (
            end,
            [
                delivery_of(end.request_id, end, endpoint="mine"),
                delivery_of(end.request_id, end, endpoint="jobs", host=end.request_id, url="u"),
            ],
        )
        for end in ends
    ]
    assert await deliveries.fan_out(made) == 0
    assert await deliveries.waiting_of_hosts(["jobs", "mine"]) == 3
