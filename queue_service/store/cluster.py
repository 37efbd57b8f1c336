"""A Redis Cluster: which of its masters has the slot of a key.

The library's own cluster client sends again what failed, which a put must not be; so the map of
the slots is kept here.  All keys of a service are in one slot.
"""

import asyncio
import logging
import random
from contextlib import suppress

from redis.crc import key_slot
from redis.exceptions import AskError, ConnectionError, MovedError, RedisError

from queue_service.settings.redis_address import Node
from queue_service.store.servers import LOOK_S, MakePool, Pool, ask_any, close

log = logging.getLogger(__name__)

SLOTS = 16384


class Cluster:
    """The nodes of a cluster and their slots.

    seeds: nodes to ask first; the others are found through them.
    """

    def __init__(self, seeds: tuple[Node, ...], make_pool: MakePool) -> None:
        self._seeds = seeds
        self._make_pool = make_pool
        self._pools: dict[Node, Pool] = {}
        self._owners: list[Node | None] = [None] * SLOTS
        #: Nodes that did not do what was asked; they are asked last, and their slots looked up.
        self._doubted: set[Node] = set()
        self._looking = asyncio.Lock()

    def known_pool(self, key: str) -> Pool | None:
        owner = self._owners[key_slot(key.encode())]
        return None if owner is None or owner in self._doubted else self._pool(owner)

    async def find_pool(self, key: str) -> Pool:
        async with self._looking:
            # The task that held the lock has perhaps just found it.
            return self.known_pool(key) or await self._look_for(key)

    async def any_pool(self) -> Pool:
        if not self._pools:
            await self.find_pool("")
        nodes = [node for node in self._pools if node not in self._doubted]
        return self._pool(random.choice(nodes or list(self._pools)))

    async def redirected_pool(self, error: AskError) -> Pool:
        node = (error.host, error.port)
        if isinstance(error, MovedError):
            self._owners[error.slot_id] = node
            self._doubted.discard(node)
        return self._pool(node)

    async def doubt(self, pool: Pool) -> None:
        self._doubted.update(node for node, known in self._pools.items() if known is pool)

    async def aclose(self) -> None:
        for pool in self._pools.values():
            await close(pool)

    def _pool(self, node: Node) -> Pool:
        if node not in self._pools:
            self._pools[node] = self._make_pool(node)
        return self._pools[node]

    async def _look_for(self, key: str) -> Pool:
        nodes = list({*self._seeds, *self._pools})
        random.shuffle(nodes)
        answers = []
        for node in sorted(nodes, key=self._doubted.__contains__):
            try:
                async with asyncio.timeout(LOOK_S):
                    reply = await ask_any(self._pool(node), "CLUSTER", "SLOTS")
            except (RedisError, OSError, TimeoutError) as error:
                answers.append(f"{node[0]}:{node[1]}: {error or 'no answer in time'}")
                self._doubted.add(node)
                continue
            await self._learn(reply, asked=node)
            owner = self._owners[key_slot(key.encode())]
            if owner is not None:
                # It may be one that is dead and not replaced yet: then asking it fails again.
                self._doubted.discard(owner)
                return self._pool(owner)
            answers.append(f"{node[0]}:{node[1]}: nobody has the slot of {key!r}")
        raise ConnectionError("expected a node that knows the cluster, got: " + "; ".join(answers))

    async def _learn(self, reply: list[list[object]], *, asked: Node) -> None:
        owners: list[Node | None] = [None] * SLOTS
        for first, last, master, *_ in reply:
            assert isinstance(first, int)
            assert isinstance(last, int)
            assert isinstance(master, list)
            # A node that does not know its own address gives none.
            host = (master[0] or b"").decode()
            node = (host if host not in {"", "?"} else asked[0], int(master[1]))
            owners[first : last + 1] = [node] * (last + 1 - first)
        self._owners = owners
        for node in set(self._pools) - {*owners, *self._seeds, asked}:
            # Replicas that were masters, and nodes that have left.
            pool = self._pools.pop(node)
            self._doubted.discard(node)
            with suppress(RedisError, OSError):
                await pool.disconnect(inuse_connections=False)
