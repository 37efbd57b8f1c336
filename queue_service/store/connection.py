"""The connection to Redis."""

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff


def connect(url: str, *, timeout_s: float) -> Redis:
    """Return a client for `url`; it connects when it is first used.

    A command is never repeated by the library: a put whose answer got lost may have been
    stored, and only the client that asked, with its idempotency key, can safely ask again.
    """
    return Redis.from_url(
        url,
        decode_responses=False,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        health_check_interval=0,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
    )
