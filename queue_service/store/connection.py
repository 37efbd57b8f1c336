"""The connections to Redis: from the settings to where keys are."""

from typing import Any

from redis.asyncio.connection import (
    BlockingConnectionPool,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from queue_service.settings.process import Durability, Settings
from queue_service.settings.redis_address import Node, RedisAddress, read_redis_url
from queue_service.store.cluster import Cluster
from queue_service.store.durability import Confirmation
from queue_service.store.servers import (
    LOOK_S,
    MasterPool,
    OneServer,
    Sentinels,
    SentinelServers,
    Servers,
)

#: Connections of one process to one Redis server.
MOST_CONNECTIONS = 64


def confirmation_for(settings: Settings) -> Confirmation:
    """Return what waits for the durability that the settings ask for."""
    return Confirmation(
        settings.durability,
        replicas=settings.durability_replicas,
        limit_ms=settings.durability_timeout_ms,
    )


def connect(settings: Settings, confirmation: Confirmation) -> Servers:
    """Return where keys are; a connection is made when it is first used.

    A command is never repeated by the library: a put whose answer got lost may have been
    stored, and only the client that asked, with its idempotency key, can safely ask again.
    """
    address = read_redis_url(settings.redis_url)
    options = _options(settings, address, timeout_s=settings.store_timeout_s)
    options |= {"username": address.username, "password": address.password, "db": address.db}
    if settings.durability is Durability.FSYNC:
        options["redis_connect_func"] = confirmation.prepare

    def pool(node: Node) -> BlockingConnectionPool:
        return BlockingConnectionPool(host=node[0], port=node[1], **options)

    match address.kind:
        case "socket":
            return OneServer(BlockingConnectionPool(path=address.path, **options))
        case "server":
            return OneServer(pool(address.nodes[0]))
        case "cluster":
            return Cluster(address.nodes, pool)
        case "sentinel":
            sentinels = _sentinels(settings, address)
            return SentinelServers(MasterPool(sentinels, **options), sentinels)


def _sentinels(settings: Settings, address: RedisAddress) -> Sentinels:
    options = _options(settings, address, timeout_s=LOOK_S) | {
        "username": settings.redis_sentinel_user or None,
        "password": settings.redis_sentinel_password.get_secret_value() or None,
    }
    pools = [
        BlockingConnectionPool(host=host, port=port, **options) for host, port in address.nodes
    ]
    return Sentinels(pools, address.master)


def _options(settings: Settings, address: RedisAddress, *, timeout_s: float) -> dict[str, Any]:
    options: dict[str, Any] = {
        # A call that finds all of them busy waits for one; batches make that rare.
        "max_connections": MOST_CONNECTIONS,
        "timeout": timeout_s,
        "decode_responses": False,
        # The library would wait in a task of its own for each command; scripts.py has one
        # time-out around the whole call instead.
        "socket_timeout": None,
        "socket_connect_timeout": timeout_s,
        "health_check_interval": 0,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        "connection_class": Connection,
    }
    if address.kind == "socket":
        options["connection_class"] = UnixDomainSocketConnection
    elif address.tls:
        options |= {
            "connection_class": SSLConnection,
            "ssl_cert_reqs": "required",
            "ssl_check_hostname": settings.redis_check_hostname,
            "ssl_ca_certs": settings.redis_ca_file or None,
            "ssl_certfile": settings.redis_cert_file or None,
            "ssl_keyfile": settings.redis_key_file or None,
        }
    return options
