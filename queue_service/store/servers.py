"""Which Redis server has a key: one server, the master that sentinels name, or a cluster's.

Scripts ask for the pool of connections of a key, and say when something there went wrong; whoever
answers the next time is then looked for anew.
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

#: Longest wait for a sentinel or for a node's picture of its cluster, in seconds.
LOOK_S = 1.0


class Servers(Protocol):
    """Where keys are."""

    def known_pool(self, key: str) -> Pool | None:
        """The connections to the server that has this key; None when `find_pool` must look."""

    async def find_pool(self, key: str) -> Pool:
        """Look for the server that has this key; raises ConnectionError."""

    async def any_pool(self) -> Pool:
        """The connections to a server whose pub/sub channels are everybody's."""

    async def redirected_pool(self, error: AskError) -> Pool:
        """The connections to the server that another one has named."""

    async def doubt(self, pool: Pool) -> None:
        """Something went wrong there: look again before it is asked again."""

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
    """Close every connection; one to a server that no longer answers is left to the system."""
    with suppress(RedisError, OSError):
        await pool.disconnect()


class OneServer:
    """One server, or whatever else has one address."""

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
        """Keep its connections: each finds out for itself whether it still works."""

    async def aclose(self) -> None:
        await close(self._pool)


class Sentinels:
    """The sentinels of one master."""

    def __init__(self, pools: list[Pool], master: str) -> None:
        self._pools = pools
        self._master = master

    async def find_master(self) -> Node:
        """Ask one after the other for the master; raises ConnectionError when none knows."""
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
        """Whoever has answered last may be behind the times: ask another one first."""
        self._ask_last(self._pools[0])

    def _ask_last(self, pool: Pool) -> None:
        self._pools.remove(pool)
        self._pools.append(pool)

    async def aclose(self) -> None:
        for pool in self._pools:
            await close(pool)


class MasterPool(Pool):
    """Connections to whoever is the master at the moment when each is made."""

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
    """The master that sentinels name, and after a failover the next one."""

    def __init__(self, pool: MasterPool, sentinels: Sentinels) -> None:
        super().__init__(pool)
        self._sentinels = sentinels

    async def doubt(self, pool: Pool) -> None:
        self._sentinels.doubt()
        # Those in use are found out by whoever uses them.
        with suppress(RedisError, OSError):
            await pool.disconnect(inuse_connections=False)

    async def aclose(self) -> None:
        await super().aclose()
        await self._sentinels.aclose()
