"""Which Redis server has a key: a single server, the master that Sentinel names, or a cluster node.

`Scripts` asks for the connection pool of a key and reports errors (`doubt`); the next call then
looks the server up again.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from redis.asyncio.connection import AbstractConnection, BlockingConnectionPool
from redis.exceptions import AskError, ConnectionError, RedisError

from queue_service.settings.redis_address import Node
from queue_service.store.durability import ask

Pool = BlockingConnectionPool
MakePool = Callable[[Node], Pool]

#: Longest wait for a response of a sentinel, or for a node's cluster slots, in seconds.
LOOK_S = 1.0


class Servers(Protocol):
    """Finds the server of a key."""

    def known_pool(self, key: str) -> Pool | None:
        """Return the pool for this key, if it is known; None means that `find_pool` must ask."""

    async def find_pool(self, key: str) -> Pool:
        """Find the server that has this key; raises ConnectionError."""

    async def any_pool(self) -> Pool:
        """Return the pool of a server whose pub/sub channels reach all servers."""

    async def redirected_pool(self, error: AskError) -> Pool:
        """Return the pool of the server to which another one redirected the command."""

    async def doubt(self, pool: Pool) -> None:
        """Note an error of this server, so that the next call looks it up again."""

    async def aclose(self) -> None:
        """Close every connection."""


async def ask_any(pool: Pool, *words: Any) -> Any:
    """Send one command on a connection of this pool and return its reply."""
    connection = await pool.get_connection()  # type: ignore[no-untyped-call]
    try:
        return await ask(connection, *words)
    except asyncio.CancelledError:
        # Its reply must not answer the next command.
        await connection.disconnect(nowait=True)
        raise
    finally:
        await pool.release(connection)


async def close(pool: Pool) -> None:
    """Close every connection; the system closes those to a server that does not respond."""
    with suppress(RedisError, OSError):
        await pool.disconnect()


class OneServer:
    """A single server, or a proxy with one address."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def known_pool(self, key: str) -> Pool | None:
        return self._pool

    async def find_pool(self, key: str) -> Pool:
        return self._pool

    async def any_pool(self) -> Pool:
        return self._pool

    async def redirected_pool(self, error: AskError) -> Pool:
        raise ConnectionError(
            "expected a server that has every key, got a node of a cluster: "
            "its URL begins with redis+cluster://"
        )

    async def doubt(self, pool: Pool) -> None:
        """Keep the connections: each one detects by itself that it is broken."""

    async def aclose(self) -> None:
        await close(self._pool)


class Sentinels:
    """The sentinels that monitor one master."""

    def __init__(self, pools: list[Pool], master: str) -> None:
        self._pools = pools
        self._master = master

    async def find_master(self) -> Node:
        """Ask the sentinels in turn for the master; raises ConnectionError if none knows it."""
        answers = []
        for pool in list(self._pools):
            try:
                async with asyncio.timeout(LOOK_S):
                    named = await ask_any(pool, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._master)
            except (RedisError, OSError, TimeoutError) as error:
                answers.append(str(error) or "no answer in time")
                self._ask_last(pool)
                continue
            if named:
                return named[0].decode(), int(named[1])
            answers.append(f"knows no master {self._master!r}")
        raise ConnectionError(
            f"expected a sentinel that knows where {self._master!r} is, got: " + "; ".join(answers)
        )

    def doubt(self) -> None:
        """Ask another sentinel first: the one that answered last may be out of date."""
        self._ask_last(self._pools[0])

    def _ask_last(self, pool: Pool) -> None:
        self._pools.remove(pool)
        self._pools.append(pool)

    async def aclose(self) -> None:
        for pool in self._pools:
            await close(pool)


class MasterPool(Pool):
    """Connections to the master; each connection asks for it when it is opened."""

    def __init__(self, sentinels: Sentinels, **options: Any) -> None:
        super().__init__(**options)
        self._sentinels = sentinels

    async def ensure_connection(self, connection: AbstractConnection) -> None:
        if not connection.is_connected:
            connection.host, connection.port = (  # type: ignore[attr-defined]
                await self._sentinels.find_master()
            )
        await super().ensure_connection(connection)


class SentinelServers(OneServer):
    """The master that the sentinels name; after a failover, the new one."""

    def __init__(self, pool: MasterPool, sentinels: Sentinels) -> None:
        super().__init__(pool)
        self._sentinels = sentinels

    async def doubt(self, pool: Pool) -> None:
        self._sentinels.doubt()
        # A connection in use fails in the call that uses it.
        with suppress(RedisError, OSError):
            await pool.disconnect(inuse_connections=False)

    async def aclose(self) -> None:
        await super().aclose()
        await self._sentinels.aclose()
