"""Webhooks while jobs keep ending, and while they name many hosts."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from queue_service.delivery.doorbell import Doorbell
from queue_service.process.metrics import Metrics
from queue_service.service.webhooks.address import Allowed
from queue_service.service.webhooks.endpoints import Endpoint, Endpoints
from queue_service.service.webhooks.post import Post
from queue_service.service.webhooks.webhooks import Webhooks
from queue_service.store.keys import Keys
from queue_service.store.webhook_deliveries import (
    MOST_WAITING,
    Delivery,
    End,
    Looked,
    WebhookDeliveries,
)

END = End("1-0", "job", "succeeded", "", "", 0, 1, "m", "https://example.org/")


class Busy(WebhookDeliveries):
    """The deliveries of a service whose jobs end all the time, each with a webhook of its own."""

    def __init__(self, keys: Keys, *, waiting: int = 0) -> None:
        super().__init__(cast(Any, None), keys)
        self.claimed = asyncio.Event()
        self.made: list[Delivery] = []
        self._waiting = waiting

    async def look(self, endpoints: Iterable[str] = ()) -> Looked:
        return Looked((END,), ("mine",), 0)

    async def waiting_of_hosts(self, endpoints: Iterable[str]) -> int:
        return self._waiting

    async def fan_out(self, ends: Sequence[tuple[End, Sequence[Delivery]]]) -> int:
        self.made += [one for _, some in ends for one in some]
        return 0

    async def claim(self, wanted: Mapping[str, int], *, lease_ms: int) -> list[Delivery]:
        self.claimed.set()
        return []


async def run(busy: Busy, keys: Keys) -> bool:
    """Run until something is claimed; return whether the run has ended before."""
    post = Post(Allowed(), timeout_s=1.0, scale=1.0)
    metrics = Metrics()
    webhooks = Webhooks(
        cast(Any, None), keys, post, metrics, Doorbell(), incarnation=1, path_prefix=""
    )
    mine = Endpoint("mine", "https://example.com/", ("job.succeeded",), "whsec_AAAA", 0)
    webhooks.take(Endpoints().with_one(mine))
    webhooks.deliveries = busy
    running = asyncio.create_task(webhooks.run())
    claimed = asyncio.create_task(busy.claimed.wait())
    await asyncio.wait({running, claimed}, return_when=asyncio.FIRST_COMPLETED)
    has_ended = running.done()
    running.cancel()
    claimed.cancel()
    await asyncio.gather(running, claimed, return_exceptions=True)
    await post.close()
    return has_ended


async def test_what_is_due_is_sent_while_jobs_keep_ending() -> None:
    keys = Keys("prefix", "svc")
    busy = Busy(keys)
    assert not await run(busy, keys)
    assert busy.claimed.is_set()
    assert {one.endpoint for one in busy.made} == {"mine", "jobs"}


async def test_hosts_that_jobs_name_do_not_fill_the_store() -> None:
    keys = Keys("prefix", "svc")
    busy = Busy(keys, waiting=MOST_WAITING)
    await run(busy, keys)
    assert {one.endpoint for one in busy.made} == {"mine"}
