"""Durability: where the writes of an operation must be before it is confirmed to a client.

    memory       Redis has executed the command
    fsync        the write is in the append-only file, and that file is on disk
    replicated   the configured number of replicas have it as well

A write that cannot be confirmed in time may still have happened: the client gets `OUTCOME_UNKNOWN`,
neither a success nor a failure.
"""

import logging
from typing import Any
from weakref import WeakSet

from hiredis import pack_command
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError, NoPermissionError, RedisError, ResponseError

from queue_service.settings.process import Durability

log = logging.getLogger(__name__)

#: Operations whose success tells a client that something is stored or removed for good.
PROMISING = frozenset(
    {
        "put",
        "complete",
        "commit",
        "delete",
        "truncate",
        "purge",
        "replay",
        "edit_dead",
        "register",
        "end_stream",
        "pause",
        "submit",
        "cancel",
        "purge_ticket",
        "add_file",
        "remove_file",
        "add_batch",
        "write_batch",
        "end_batch",
        "cancel_batch",
    }
)


class AnswerLost(ConnectionError):
    """The command was sent, but no response came: it may have been executed."""


class NotConfirmed(AnswerLost):
    """The command was executed, but its durability could not be confirmed."""


class NotDurable(ConnectionError):
    """This Redis is not configured for the requested durability."""


async def ask(connection: AbstractConnection, *words: Any) -> Any:
    """Send one command on a connection and return its reply."""
    await connection.send_packed_command(pack_command(words), check_health=False)
    return await connection.read_response()


class Confirmation:
    """Confirms the last writes of a connection.

    replicas: how many replicas must have them.  limit_ms: longest wait for replicas or the disk.
    """

    def __init__(self, wanted: Durability, *, replicas: int, limit_ms: int) -> None:
        self._wanted = wanted
        self._replicas = replicas
        self._limit_ms = limit_ms
        # Connections to servers that know WAITAOF (Redis 7.2 and newer).
        self._can_wait_for_disk: WeakSet[AbstractConnection] = WeakSet()
        self._has_warned = False

    async def confirm(self, connection: AbstractConnection) -> None:
        """Wait until the last writes of this connection are durable; raises NotConfirmed."""
        if self._wanted is Durability.MEMORY:
            return
        if self._wanted is Durability.REPLICATED:
            words: tuple[Any, ...] = ("WAIT", self._replicas, self._limit_ms)
            what, least = f"that {self._replicas} replicas have it", self._replicas
        elif connection in self._can_wait_for_disk:
            words = ("WAITAOF", 1, 0, self._limit_ms)
            what, least = "that it is on disk", 1
        else:
            # `prepare` has checked for `appendfsync always`: Redis replied after the fsync.
            return
        try:
            reply = await ask(connection, *words)
        except (RedisError, OSError) as error:
            raise NotConfirmed(f"stored, but expected to hear {what}, got: {error}") from error
        count = int(reply[0] if isinstance(reply, list) else reply)
        if count < least:
            raise NotConfirmed(
                f"stored, but expected {what} within {self._limit_ms} ms, got {count} of {least}"
            )

    async def prepare(self, connection: AbstractConnection) -> None:
        """Log in on a new connection and check that its server supports the durability.

        Raises NotDurable if it does not.
        """
        await connection.on_connect()
        self._can_wait_for_disk.discard(connection)
        if self._wanted is not Durability.FSYNC:
            return
        try:
            # Returns at once, because this connection has written nothing yet.
            await ask(connection, "WAITAOF", 1, 0, 1)
        except NoPermissionError as error:
            raise NotDurable(f"fsync: expected a user that may WAITAOF, got {error}") from error
        except ResponseError as error:
            if "appendonly" in str(error):
                raise NotDurable("fsync: expected Redis with `appendonly yes`, got no") from error
            if "unknown command" not in str(error):
                # A replica answers like this, and the server is one until a failover ends.
                raise ConnectionError(str(error)) from error
            await self._check_settings(connection)
            return
        self._can_wait_for_disk.add(connection)

    async def _check_settings(self, connection: AbstractConnection) -> None:
        """Check that a server before 7.2, which lacks WAITAOF, syncs each write."""
        try:
            reply = await ask(connection, "CONFIG", "GET", "append*")
        except ResponseError as error:
            self._warn_once(error)
            return
        texts = [text.decode() for text in reply]
        found = dict(zip(texts[::2], texts[1::2], strict=True))
        if found.get("appendonly") != "yes" or found.get("appendfsync") != "always":
            raise NotDurable(
                "fsync: expected Redis before 7.2 with `appendonly yes` and `appendfsync always`, "
                f"got {found.get('appendonly')} and {found.get('appendfsync')}"
            )

    def _warn_once(self, error: ResponseError) -> None:
        if not self._has_warned:
            self._has_warned = True
            log.warning(
                "fsync: cannot see whether this Redis has `appendfsync always` (%s); "
                "taking it for granted.",
                error,
            )
