"""The webhooks of one service, in one process: set up, made into deliveries, and sent.

Every process looks at the outbox and at what is due, and takes deliveries under leases; a process
that ends leaves its deliveries to the others.  A service without webhooks does nothing here.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from queue_service.delivery.doorbell import Doorbell
from queue_service.errors import ServiceError, StoreError, StoreUnavailable
from queue_service.process.metrics import Metrics
from queue_service.service.webhooks.address import Refused, read_url
from queue_service.service.webhooks.endpoints import Endpoint, Endpoints
from queue_service.service.webhooks.messages import (
    OF_REQUESTS,
    body_of,
    delivery_of,
    event_id,
    signed_headers,
)
from queue_service.service.webhooks.post import Answer, Post
from queue_service.service.webhooks.schedule import asked_pause_s, next_try_ms
from queue_service.store.keys import Keys
from queue_service.store.scripts import Scripts
from queue_service.store.webhook_deliveries import (
    BEHIND,
    MOST_WAITING,
    Delivery,
    End,
    Outcome,
    Settled,
    WebhookDeliveries,
)

log = logging.getLogger(__name__)

#: Attempts at once of one bucket in one process, and of one whose last attempt had no response.
MOST_OF_BUCKET, MOST_OF_SLOW = 4, 1
#: The same of one service, and of all hosts that its jobs have named.
MOST_OF_SERVICE, MOST_OF_HOSTS = 64, 32
#: The most buckets that are remembered as slow.
MOST_SLOW = 10_000
#: A ring may be lost; how long work may then go unnoticed, in seconds.
LOOK_S = 10.0
#: The pause without the store, in seconds.
STORE_PAUSE_S = 1.0
GONE = 410


class Webhooks:
    """The webhooks of one service, in one process.

    bell: rings when an end was added to the outbox, or a delivery is to be sent again.
    """

    def __init__(
        self,
        scripts: Scripts,
        keys: Keys,
        post: Post,
        metrics: Metrics,
        bell: Doorbell,
        *,
        incarnation: int,
        path_prefix: str,
    ) -> None:
        self.endpoints = Endpoints()
        self.deliveries = WebhookDeliveries(scripts, keys)
        #: Disables an endpoint that answered 410.
        self.disable: Callable[[Webhooks, str, str], Awaitable[None]] | None = None
        #: Called when the endpoints have changed.
        self.on_change: Callable[[], None] = lambda: None
        #: The name and the incarnation of the service.
        self.service = (keys.service, incarnation)
        self._service = keys.service
        self._path_prefix = path_prefix
        self._post = post
        self._metrics = metrics
        self._bell = bell
        self._sending: Counter[str] = Counter()
        self._slow: set[str] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def take(self, text: str) -> bool:
        """Use these endpoints from now on; say whether they differ from the last ones."""
        if text == self.endpoints.text:
            return False
        try:
            self.endpoints = Endpoints.from_text(text)
        except ValueError as error:
            log.error("The webhooks of %s stay as they were: %s", self._service, error)
            return False
        self.on_change()
        self._bell.ring()
        return True

    @property
    def of_requests(self) -> Endpoint | None:
        """The endpoint that signs the webhooks of single jobs; None if the service takes none."""
        found = self.endpoints.by_name.get(OF_REQUESTS)
        return None if found is None or found.disabled else found

    async def run(self) -> None:
        """Send what is due, until cancelled."""
        try:
            while True:
                seen = self._bell.rings
                wait_s: float | None = STORE_PAUSE_S
                try:
                    wait_s = await self._look() if self.endpoints.by_name else None
                except StoreUnavailable as error:
                    log.debug("Webhooks of %s wait: %s", self._service, error)
                except StoreError:
                    log.exception("Webhooks of %s wait.", self._service)
                await self._bell.wait(seen, timeout_s=wait_s)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _look(self) -> float:
        """Begin the attempts that can begin now; return the seconds until there is more to do."""
        looked = await self.deliveries.look(self.endpoints.by_name)
        if looked.ends:
            await self._fan_out(looked.ends)
        # Also while ends keep coming: what is due must not wait for a pause of them.
        wanted = self._wanted(looked.buckets)
        claimed = (
            await self.deliveries.claim(wanted, lease_ms=self._post.lease_ms) if wanted else []
        )
        for delivery in claimed:
            self._begin(delivery)
        if looked.ends:
            # What was made of them is due, and there may be more.
            return 0.0
        if wanted and not claimed:
            # Another process was faster, or an endpoint is gone and has more to remove.
            return 0.05
        if looked.buckets and not self._post.free:
            # The attempts of other services fill this process, and their ends ring no bell here.
            return 0.5
        wait_s = LOOK_S if looked.wait_ms is None else (looked.wait_ms + 1) / 1000
        return min(LOOK_S, wait_s)

    def _wanted(self, buckets: Sequence[str]) -> dict[str, int]:
        """Return how many deliveries of each bucket may begin now.

        Hosts that jobs have named share a part, so that they cannot keep endpoints waiting.
        """
        free = min(self._post.free, MOST_OF_SERVICE - len(self._tasks))
        free_of_hosts = MOST_OF_HOSTS - sum(
            count for bucket, count in self._sending.items() if BEHIND in bucket
        )
        wanted: dict[str, int] = {}
        for bucket in buckets:
            most = MOST_OF_SLOW if bucket in self._slow else MOST_OF_BUCKET
            room = min(free, free_of_hosts) if BEHIND in bucket else free
            if (count := min(room, most - self._sending[bucket])) > 0:
                wanted[bucket] = count
                free -= count
                free_of_hosts -= count if BEHIND in bucket else 0
        return wanted

    async def _fan_out(self, ends: tuple[End, ...]) -> None:
        made = [(end, self._deliveries_of(end)) for end in ends]
        count = sum(len(some) for _, some in made)
        if any(one.url for _, some in made for one in some):
            # Jobs may name any number of hosts, and each of them may wait for days.
            waiting = await self.deliveries.waiting_of_hosts(self.endpoints.by_name)
            if waiting >= MOST_WAITING:
                made = [(end, [one for one in some if not one.url]) for end, some in made]
        dropped = count - sum(len(some) for _, some in made)
        dropped += await self.deliveries.fan_out(made)
        if dropped:
            log.error("%d webhooks of %s were dropped: too many wait.", dropped, self._service)
            self._metrics.webhooks.labels(self._service, "dropped").inc(dropped)

    def _deliveries_of(self, end: End) -> list[Delivery]:
        event = event_id(*self.service, end)
        found = [
            delivery_of(event, end, endpoint=one.name) for one in self.endpoints.wanting(end.state)
        ]
        if end.url:
            try:
                host = read_url(end.url).host or ""
            except Refused as error:
                log.warning("A webhook of a job of %s is not sent: %s", self._service, error)
            else:
                found.append(delivery_of(event, end, endpoint=OF_REQUESTS, host=host, url=end.url))
        return found

    def _begin(self, delivery: Delivery) -> None:
        self._sending[delivery.bucket] += 1
        task = asyncio.create_task(self._deliver(delivery), name=f"webhook {delivery.id}")
        self._tasks.add(task)

        def ended(_: "asyncio.Task[None]") -> None:
            self._tasks.discard(task)
            self._sending[delivery.bucket] -= 1
            if not self._sending[delivery.bucket]:
                del self._sending[delivery.bucket]
            self._bell.ring()

        task.add_done_callback(ended)

    async def _deliver(self, delivery: Delivery) -> None:
        """Make one attempt, and record its outcome."""
        try:
            settled = await self._attempt(delivery)
        except Exception as error:
            # A bug here must not repeat the attempt for ever, so it counts.
            log.exception("A webhook of %s was not sent.", self._service)
            settled = _settled(delivery, Answer(error=type(error).__name__), self._post.scale)
        try:
            if settled.gone and self.disable is not None:
                # First, so that the endpoint is disabled even if this process ends in between.
                await self.disable(self, delivery.endpoint, "the endpoint answered 410 Gone")
            await self.deliveries.settle(delivery, settled)
        except ServiceError as error:
            # Its lease ends, and it is sent again under the same id.
            log.warning("A webhook of %s will be sent again: %s", self._service, error)
        self._metrics.webhooks.labels(self._service, settled.outcome).inc()
        if settled.outcome is Outcome.FAILED:
            log.warning(
                "A webhook of %s has failed for good, after %d attempts: %s",
                self._service,
                delivery.attempts,
                settled.error,
            )

    async def _attempt(self, delivery: Delivery) -> Settled:
        endpoint = self.endpoints.by_name.get(delivery.endpoint)
        if endpoint is None or endpoint.disabled:
            error = endpoint.disabled if endpoint else "the endpoint was deleted"
            return Settled(Outcome.FAILED, error=f"not sent: {error}")
        now = datetime.fromtimestamp(time.time(), UTC)
        body = body_of(self._service, delivery, prefix=self._path_prefix)
        secrets = endpoint.secrets(round(now.timestamp() * 1000))
        headers = signed_headers(delivery.event, body, secrets, now=now)
        url, of_requests = delivery.url or endpoint.url, bool(delivery.url)
        answer = await self._post.send(url, body, headers, of_requests=of_requests)
        if answer.timed_out and len(self._slow) < MOST_SLOW:
            self._slow.add(delivery.bucket)
        else:
            self._slow.discard(delivery.bucket)
        return _settled(delivery, answer, self._post.scale)


def _settled(delivery: Delivery, answer: Answer, scale: float) -> Settled:
    """Decide what follows an attempt, by its response."""
    told = Settled(Outcome.DELIVERED, status=answer.status, error=answer.error)
    if answer.is_success:
        return told
    if answer.status == GONE:
        # The 410 of a job's own webhook concerns this job only.
        return replace(told, outcome=Outcome.FAILED, gone=not delivery.url)
    asked_s = asked_pause_s(answer.status, answer.headers, datetime.fromtimestamp(time.time(), UTC))
    pause_ms = next_try_ms(delivery.attempts, asked_s=asked_s, scale=scale)
    if pause_ms is None:
        return replace(told, outcome=Outcome.FAILED)
    return replace(told, outcome=Outcome.RETRY, next_in_ms=pause_ms)
