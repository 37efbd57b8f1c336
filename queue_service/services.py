"""A service: a name, a token, and its pair of queues."""

import asyncio
import hashlib
import hmac
from collections.abc import Iterator, Mapping

from redis.asyncio import Redis
from redis.exceptions import RedisError

from queue_service.access import Access
from queue_service.delivery.doorbell import Doorbell, Wire
from queue_service.errors import NoSuchService
from queue_service.metrics import Metrics
from queue_service.queues import Limits, Queue
from queue_service.settings import ServiceSettings, Settings, capacity
from queue_service.store.keys import Keys, Role
from queue_service.store.scripts import Scripts
from queue_service.store.store import Store
from queue_service.store.tokens import TOKENS, TokenStore


class Service:
    """One service.

    workers_gid: the group of its workers, named after the service as PAI EAS does it.
    """

    def __init__(
        self, wanted: ServiceSettings, scripts: Scripts, settings: Settings, metrics: Metrics
    ) -> None:
        self.name = wanted.name
        self.workers_gid = wanted.name
        self.max_delivery = wanted.max_delivery
        self.keys = Keys(settings.key_prefix, wanted.name)
        self._token_digest = wanted.token_digest()
        self._open = not wanted.token.get_secret_value()

        def queue(role: Role) -> Queue:
            entries, payload_bytes = capacity(wanted, role)
            store = Store(
                scripts,
                self.keys,
                role,
                capacity=entries,
                auto_evict=(wanted.sink if role == "sink" else wanted.input).auto_evict,
                sink_capacity=capacity(wanted, "sink")[0],
                sink_evicts=wanted.sink.auto_evict,
                max_delivery=wanted.max_delivery,
                dead_message_policy=wanted.dead_message_policy,
                dead_letters_max_length=wanted.dead_letters_max_length,
                max_idle_ms=wanted.max_idle_ms,
                idempotency_ttl_ms=settings.idempotency_ttl_ms,
            )
            return Queue(
                role,
                store,
                service=wanted.name,
                limits=Limits(entries, payload_bytes),
                settings=settings,
                metrics=metrics.queue(wanted.name, role),
                max_idle_ms=wanted.max_idle_ms,
            )

        self.input = queue("input")
        self.sink = queue("sink")

    @property
    def queues(self) -> tuple[Queue, Queue]:
        return self.input, self.sink

    def admits(self, token: str) -> bool:
        """Say whether this token opens the service, in a time that tells nothing about it."""
        digest = hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()
        return self._open or hmac.compare_digest(digest, self._token_digest)


class Services:
    """The services of one process."""

    def __init__(self, redis: Redis, settings: Settings, metrics: Metrics) -> None:
        scripts = Scripts(redis, timeout_s=settings.store_timeout_s)
        self._redis = redis
        self._tick_s = settings.tick_ms / 1000
        self.draining = False
        self.access = Access(TokenStore(redis, key_prefix=settings.key_prefix))
        self._by_name = {
            wanted.name: Service(wanted, scripts, settings, metrics) for wanted in settings.services
        }

    def __iter__(self) -> Iterator[Service]:
        return iter(self._by_name.values())

    def find(self, name: str) -> Service:
        """The service of this name; raises NoSuchService."""
        try:
            return self._by_name[name]
        except KeyError:
            raise NoSuchService(name) from None

    def first(self) -> Service | None:
        """The service that a bare mount serves."""
        return next(iter(self), None)

    async def run(self) -> None:
        """Run every queue and the doorbells between the processes, for ever."""
        bells: Mapping[str, Mapping[str, Doorbell]] = {
            service.keys.channel: {queue.role: queue.bell for queue in service.queues}
            for service in self
        }
        bells = {**bells, self.access.store.channel: {TOKENS: self.access.bell}}
        async with asyncio.TaskGroup() as group:
            group.create_task(Wire(self._redis, bells, tick_s=self._tick_s).run())
            group.create_task(self.access.run())
            for service in self:
                for queue in service.queues:
                    group.create_task(queue.run())

    def drain(self) -> None:
        """Take no new subscribers, end those that are there, answer long polls."""
        self.draining = True
        for service in self:
            for queue in service.queues:
                queue.drain()

    async def is_ready(self) -> bool:
        """Say whether the store answers."""
        try:
            async with asyncio.timeout(1.0):
                return bool(await self._redis.ping())
        except (RedisError, OSError, TimeoutError):
            return False
