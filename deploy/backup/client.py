"""Commands to one Redis, with the replies as Redis gives them."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.connection import ConnectionPool

#: How long Redis may take for one command, in seconds: less would end a read of large entries.
ANSWER_S = 60.0

Words = Sequence[bytes | str | int]


class Client:
    """Sends commands; raises RedisError, OSError or TimeoutError."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool
        self._redis = Redis(connection_pool=pool)
        # The library would make a dictionary of the fields of an entry, which may be there twice.
        self._redis.response_callbacks = {}

    async def ask(self, *words: bytes | str | int) -> Any:
        """Send one command and return the reply."""
        async with asyncio.timeout(ANSWER_S):
            return await self._redis.execute_command(*words)  # type: ignore[no-untyped-call]

    async def ask_all(self, commands: Iterable[Words]) -> list[Any]:
        """Send commands in one round trip and return their replies; raises the first error."""
        pipe = self._redis.pipeline(transaction=False)
        for words in commands:
            pipe.execute_command(*words)
        async with asyncio.timeout(ANSWER_S):
            return list(await pipe.execute())

    async def send(self, packed: Sequence[bytes]) -> None:
        """Send commands that are bytes already, in one round trip; raises the first error."""
        connection = await self._pool.get_connection()  # type: ignore[no-untyped-call]
        try:
            async with asyncio.timeout(ANSWER_S):
                await connection.send_packed_command(packed, check_health=False)
                for _ in packed:
                    await connection.read_response()
        except BaseException:
            # Its other replies must not answer the next command.
            await connection.disconnect(nowait=True)
            raise
        finally:
            await self._pool.release(connection)
