"""The deliveries of the webhooks of one service.

Keys (`<prefix>:{<service>}:webhooks...`):

| key            | type       | holds                                                           |
|----------------|------------|-----------------------------------------------------------------|
| `webhooks`     | stream     | ends of requests, until deliveries are made of them (outbox.lua) |
| `:deliveries`  | hash       | delivery id -> the delivery (JSON)                              |
| `:buckets`     | sorted set | bucket -> when its first delivery is due, ms                    |
| `:due:<bucket>`| sorted set | delivery id -> when it is due, or its lease ends, ms            |
| `:delivered`   | sorted set | delivery id -> when that was, ms; the latest                    |
| `:failed`      | sorted set | delivery id -> when it failed for good, ms; the latest          |
| `:gone`        | hash       | endpoint -> when it answered 410, until it is set up again      |

A bucket is what is sent side by side without waiting for others: those of an endpoint, or of a host
that jobs have named.  A claim is a lease: if its process ends before it settles the delivery, the
delivery is due again after that time, under the same webhook id.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from redis.exceptions import RedisError

from queue_service.errors import StoreUnavailable
from queue_service.store.keys import Keys
from queue_service.store.scripts import Scripts

#: How many ends one look reads, and how many buckets.
ENDS_AT_ONCE, BUCKETS_AT_ONCE = 100, 512
#: The most deliveries that wait in one bucket, or for all hosts that jobs have named, and the most
#: ended ones that are kept.
MOST_WAITING, MOST_DELIVERED, MOST_FAILED = 100_000, 1000, 10_000
#: How many deliveries one call reads or removes.
STEP = 200


class DeliveryState(StrEnum):
    """Where a delivery is."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


class Outcome(StrEnum):
    """How an attempt has ended, as settle_webhook.lua takes it."""

    DELIVERED = "delivered"
    FAILED = "failed"
    RETRY = "retry"
    RELEASED = "released"  # nothing was sent


@dataclass(frozen=True, slots=True)
class End:
    """The end of a request.

    id: in the outbox.  request_id: as it is stored.  code, type: of a failure.  mark: tells two
    ends of one request id apart.  put_at_ms: 0 if it is not known.  url: of the job's own webhook,
    "" if it has none that wants this end.
    """

    id: str
    request_id: str
    state: str
    code: str
    type: str
    put_at_ms: int
    ended_at_ms: int
    mark: str
    url: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message for one receiver, as it is stored.

    event: the webhook id, the same in each attempt.  endpoint: its name.  url: of a job's own
    webhook, else "".  attempts: those that were begun.  status: the last HTTP status, 0 without a
    response.  error: why the last attempt failed.
    """

    id: str
    event: str
    endpoint: str
    bucket: str
    url: str
    request_id: str
    outcome: str
    code: str
    type: str
    put_at_ms: int
    ended_at_ms: int
    attempts: int = 0
    state: DeliveryState = DeliveryState.PENDING
    status: int = 0
    error: str = ""
    next_at_ms: int = 0
    last_at_ms: int = 0

    def to_json(self) -> str:
        """Return it as it is stored."""
        return json.dumps(
            {
                "event": self.event,
                "endpoint": self.endpoint,
                "bucket": self.bucket,
                "url": self.url,
                "request_id": self.request_id,
                "outcome": self.outcome,
                "code": self.code,
                "type": self.type,
                "put_at": self.put_at_ms,
                "ended_at": self.ended_at_ms,
                "attempts": self.attempts,
                "state": self.state,
            }
        )

    @classmethod
    def from_json(cls, delivery_id: str, text: bytes) -> "Delivery":
        """Read what is stored."""
        told = json.loads(text)
        return cls(
            id=delivery_id,
            event=told["event"],
            endpoint=told["endpoint"],
            bucket=told["bucket"],
            url=told["url"],
            request_id=told["request_id"],
            outcome=told["outcome"],
            code=told["code"],
            type=told["type"],
            put_at_ms=int(told["put_at"]),
            ended_at_ms=int(told["ended_at"]),
            attempts=int(told["attempts"]),
            state=DeliveryState(told["state"]),
            status=int(told.get("status", 0)),
            error=told.get("error", ""),
            next_at_ms=int(told.get("next_at", 0)),
            last_at_ms=int(told.get("last_at", 0)),
        )


@dataclass(frozen=True, slots=True)
class Looked:
    """The work of one look.  wait_ms: until another bucket has something due; None for never."""

    ends: tuple[End, ...]
    buckets: tuple[str, ...]
    wait_ms: int | None


@dataclass(frozen=True, slots=True)
class Settled:
    """What to write down of an attempt.

    gone: the endpoint wants nothing any more, so nothing more is claimed for it.
    """

    outcome: Outcome
    next_in_ms: int = 0
    status: int = 0
    error: str = ""
    gone: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """Some deliveries, and where the list continues; None at the end."""

    deliveries: Sequence[Delivery] = field(default_factory=tuple)
    go_on: int | None = None


class WebhookDeliveries:
    """The deliveries of one service; every method raises StoreUnavailable or StoreError."""

    def __init__(self, scripts: Scripts, keys: Keys) -> None:
        self._scripts = scripts
        self._channel = keys.channel
        self._outbox = keys.webhooks()
        self._names = keys.webhooks
        self._deliveries = keys.webhooks("deliveries")
        self._buckets = keys.webhooks("buckets")
        self._delivered = keys.webhooks("delivered")
        self._failed = keys.webhooks("failed")
        self._gone = keys.webhooks("gone")

    async def look(self, endpoints: Iterable[str] = ()) -> Looked:
        """Return what there is to do now.

        endpoints: whose buckets are listed first, however many hosts of jobs have something due.
        """
        keys, arguments = [self._outbox, self._buckets], [ENDS_AT_ONCE, BUCKETS_AT_ONCE, *endpoints]
        ends, buckets, wait_ms = await self._scripts.ask("look_at_webhooks", keys, arguments)
        return Looked(
            tuple(_end(end_id, fields) for end_id, fields in ends),
            tuple(bucket.decode() for bucket in buckets),
            None if wait_ms < 0 else int(wait_ms),
        )

    async def fan_out(self, ends: Sequence[tuple[End, Sequence[Delivery]]]) -> int:
        """Make the deliveries of ends; return how many were dropped, because too many wait."""
        keys = [self._outbox, self._deliveries, self._buckets]
        positions: dict[str, int] = {}
        arguments: list[Any] = [MOST_WAITING]
        for end, deliveries in ends:
            arguments += [end.id, len(deliveries)]
            for one in deliveries:
                if one.bucket not in positions:
                    keys.append(self._due(one.bucket))
                    positions[one.bucket] = len(keys)
                arguments += [one.id, positions[one.bucket], one.bucket, one.to_json()]
        return int(await self._scripts.ask("fan_out", keys, arguments))

    async def waiting_of_hosts(self, endpoints: Iterable[str]) -> int:
        """Return how many deliveries wait for hosts that jobs have named: those of no endpoint."""
        count = int(await self._command("HLEN", self._deliveries))
        for key in (self._delivered, self._failed, *map(self._due, endpoints)):
            count -= int(await self._command("ZCARD", key))
        return count

    async def claim(self, wanted: Mapping[str, int], *, lease_ms: int) -> "list[Delivery]":
        """Take due deliveries under a lease.  wanted: how many of each bucket, at most."""
        keys = [self._deliveries, self._buckets, self._gone]
        keys += [self._due(bucket) for bucket in wanted]
        arguments: list[Any] = [lease_ms]
        for bucket, most in wanted.items():
            arguments += [bucket, most]
        reply = await self._scripts.ask("claim_webhooks", keys, arguments)
        return [Delivery.from_json(one_id.decode(), text) for _, one_id, text in reply]

    async def settle(self, delivery: Delivery, settled: Settled) -> bool:
        """Record how an attempt has ended; False when that no longer counts."""
        keys = [
            self._deliveries,
            self._buckets,
            self._due(delivery.bucket),
            self._delivered,
            self._failed,
            self._gone,
        ]
        arguments = [
            delivery.id,
            delivery.bucket,
            delivery.attempts,
            settled.outcome,
            settled.next_in_ms,
            json.dumps({"status": settled.status, "error": settled.error}),
            MOST_DELIVERED,
            MOST_FAILED,
            int(settled.gone),
        ]
        return bool(await self._scripts.ask("settle_webhook", keys, arguments))

    async def redeliver(self, delivery: Delivery) -> bool:
        """Send a delivery again at once; False when it is no longer known."""
        keys = [
            self._deliveries,
            self._buckets,
            self._due(delivery.bucket),
            self._delivered,
            self._failed,
        ]
        arguments = [delivery.id, delivery.bucket, self._channel]
        return bool(await self._scripts.ask("redeliver_webhook", keys, arguments))

    async def find(self, delivery_id: str) -> Delivery | None:
        """Return a delivery; None when it is not known."""
        text = await self._command("HGET", self._deliveries, delivery_id)
        return None if text is None else Delivery.from_json(delivery_id, text)

    async def list(self, state: DeliveryState, endpoint: str, *, start: int, most: int) -> Part:
        """Return deliveries of an endpoint, "" for any: the latest first, pending ones by time.

        start: how many to pass over, as an earlier call said; each call looks at some only.
        """
        ids: Sequence[bytes] = []
        if state is DeliveryState.PENDING:
            for bucket in await self._buckets_of(endpoint):
                wanted = start + STEP - len(ids)
                more = await self._command("ZRANGE", self._due(bucket), 0, wanted - 1)
                ids = [*ids, *more]
            ids = ids[start : start + STEP]
        else:
            key = self._delivered if state is DeliveryState.DELIVERED else self._failed
            ids = await self._command("ZREVRANGE", key, start, start + STEP - 1)
        texts = await self._command("HMGET", self._deliveries, *ids) if ids else []
        found: Sequence[Delivery] = []
        for passed, (one_id, text) in enumerate(zip(ids, texts, strict=True)):
            if len(found) == most:
                return Part(found, start + passed)
            if text is not None:
                one = Delivery.from_json(one_id.decode(), text)
                if one.state is state and endpoint in ("", one.endpoint):
                    found = [*found, one]
        return Part(found, start + STEP if len(ids) == STEP else None)

    async def open_endpoint(self, endpoint: str) -> None:
        """Resume the deliveries of an endpoint that answered 410."""
        await self._command("HDEL", self._gone, endpoint)

    async def forget(self, endpoint: str) -> None:
        """Remove what waits for an endpoint."""
        for bucket in await self._buckets_of(endpoint):
            keys = [self._deliveries, self._buckets, self._due(bucket)]
            while await self._scripts.ask("forget_deliveries", keys, [bucket, STEP]) == STEP:
                pass
        await self._command("HDEL", self._gone, endpoint)

    async def remove_all(self) -> None:
        """Remove every key: the service was deleted."""
        buckets = await self._command("ZRANGE", self._buckets, 0, -1)
        keys = [self._outbox, self._deliveries, self._buckets, self._delivered, self._failed]
        keys += [self._gone, *(self._due(bucket.decode()) for bucket in buckets)]
        for first in range(0, len(keys), STEP):
            await self._command("UNLINK", *keys[first : first + STEP])

    async def _buckets_of(self, endpoint: str) -> "Sequence[str]":
        found = [name.decode() for name in await self._command("ZRANGE", self._buckets, 0, -1)]
        return [one for one in found if not endpoint or endpoint_of(one) == endpoint]

    def _due(self, bucket: str) -> str:
        return self._names(f"due:{bucket}")

    async def _command(self, command: str, key: str, *arguments: Any) -> Any:
        try:
            return await self._scripts.command(key, command, key, *arguments)
        except (RedisError, OSError, TimeoutError) as error:
            raise StoreUnavailable("webhooks", str(error)) from error


#: Joins an endpoint and a host in the name of a bucket.
BEHIND = "~"


def endpoint_of(bucket: str) -> str:
    """Return the endpoint of a bucket."""
    return bucket.partition(BEHIND)[0]


def _end(end_id: bytes, fields: Sequence[bytes]) -> End:
    told = {
        name.decode(): value.decode() for name, value in zip(fields[::2], fields[1::2], strict=True)
    }
    return End(
        id=end_id.decode(),
        request_id=told["r"],
        state=told["s"],
        code=told["c"],
        type=told["t"],
        put_at_ms=int(float(told["p"])),
        ended_at_ms=int(float(told["e"])),
        mark=told["m"],
        url=json.loads(told["w"])["url"] if told["w"] else "",
    )
