"""The connection to Redis."""

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

#: Connections of one process to Redis.
MOST_CONNECTIONS = 64


def connect(url: str, *, timeout_s: float) -> Redis:
    """Return a client for `url`; it connects when it is first used.

    A command is never repeated by the library: a put whose answer got lost may have been
    stored, and only the client that asked, with its idempotency key, can safely ask again.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        # Whoever comes when all are busy waits for one; the batches make that rare.
        max_connections=MOST_CONNECTIONS,
        timeout=timeout_s,
        decode_responses=False,
        # The library would wait in a task of its own for each command; scripts.py has one
        # time-out around the whole call instead.
        socket_timeout=None,
        socket_connect_timeout=timeout_s,
        health_check_interval=0,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
    )
    return Redis.from_pool(pool)
