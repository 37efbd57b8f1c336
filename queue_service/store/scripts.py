"""The Lua scripts: one file per verb, each behind the common prelude, run by EVALSHA.

EVALSHA is content-addressed: two versions of the service run side by side on one Redis, each
with its own scripts, and nothing has to be migrated.
"""

import asyncio
import hashlib
import logging
import re
import time
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from hiredis import pack_command
from redis.asyncio import Redis
from redis.exceptions import (
    BusyLoadingError,
    ConnectionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
)
from redis.exceptions import TimeoutError as RedisTimeoutError

from queue_service.errors import StoreError, StoreUnavailable
from queue_service.store.cancellation import notice_cancellation

log = logging.getLogger(__name__)


class AnswerLost(ConnectionError):
    """The command was sent and no answer came: it may have been carried out."""


#: Redis is not there, or not yet, or takes no writes: nothing of the verb was decided.
AWAY = (ConnectionError, RedisTimeoutError, BusyLoadingError, ReadOnlyError, OutOfMemoryError)

#: How Redis says from within a script that it takes no writes, by the first word or, before
#: Redis 7, by a later one.
_TAKES_NO_WRITES = re.compile(r"-?(OOM|MISCONF|NOREPLICAS|READONLY|MASTERDOWN|CLUSTERDOWN) ")

#: What every verb is built on, in the order in which it is put together.
PRELUDE = ("keys", "records", "groups", "request_ids", "entries", "dead_letters", "settle")


def read_prelude() -> str:
    """Return what stands before each verb's own text."""
    folder = files(__package__) / "lua" / "prelude"
    return "\n".join((folder / f"{name}.lua").read_text() for name in PRELUDE)


def read_sources() -> dict[str, str]:
    """Return the whole text of each verb's script, by verb."""
    prelude = read_prelude()
    folder = files(__package__) / "lua"
    return {
        file.name.removesuffix(".lua"): f"{before}{file.read_text()}"
        # The registry is no queue, and has nothing of a queue in front of its scripts.
        for part, before in ((folder, f"{prelude}\n"), (folder / "registry", ""))
        for file in part.iterdir()
        if file.name.endswith(".lua")
    }


class Scripts:
    """Runs a verb on one Redis."""

    def __init__(self, redis: Redis, *, timeout_s: float) -> None:
        self._pool = redis.connection_pool
        self._timeout_s = timeout_s
        self._away_since: float | None = None
        self._sources = read_sources()
        self._digests = {
            verb: hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
            for verb, source in self._sources.items()
        }

    async def run(self, verb: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """Run the script of this verb; raises what redis-py raises."""
        digest = self._digests[verb]
        try:
            try:
                reply = await self._call(("EVALSHA", digest, len(keys), *keys, *arguments))
            except NoScriptError:
                # A Redis that has restarted forgets its scripts; nothing of the verb has run.
                source = self._sources[verb]
                reply = await self._call(("EVAL", source, len(keys), *keys, *arguments))
        except AWAY as error:
            self._note_away(error)
            raise
        if self._away_since is not None:
            self._note_back()
        notice_cancellation()
        return reply

    async def ask(self, verb: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """Run the script of this verb; raises StoreUnavailable or StoreError."""
        try:
            return await self.run(verb, keys, arguments)
        except AWAY as error:
            lost = isinstance(error, AnswerLost)
            reason = str(error) or type(error).__name__
            raise StoreUnavailable(verb, reason, answer_lost=lost) from error
        except RedisError as error:
            if _TAKES_NO_WRITES.search(str(error)):
                raise StoreUnavailable(verb, str(error)) from error
            raise StoreError(verb, str(error)) from error

    def _note_away(self, error: Exception) -> None:
        """Say once that the store is away, however many calls find it so."""
        if self._away_since is None:
            self._away_since = time.monotonic()
            log.warning("The store does not answer: %s", error)

    def _note_back(self) -> None:
        assert self._away_since is not None
        log.warning("The store answers again, after %.1f s.", time.monotonic() - self._away_since)
        self._away_since = None

    async def _call(self, command: tuple[Any, ...]) -> Any:
        """Send one command and read its reply.

        The library's own way packs commands in Python, which took a tenth of a put's time.
        """
        connection, sent = None, False
        try:
            async with asyncio.timeout(self._timeout_s):
                connection = await self._pool.get_connection()  # type: ignore[no-untyped-call]
                sent = True
                await connection.send_packed_command(pack_command(command), check_health=False)
                return await connection.read_response()
        except BusyLoadingError:
            raise
        except ConnectionError as error:
            if sent:
                raise AnswerLost(str(error)) from error
            raise
        except TimeoutError:
            # What comes too late on this connection must not answer the next command.
            if connection is not None:
                await connection.disconnect(nowait=True)
            sentence = f"no answer within {self._timeout_s:g} s"
            raise (AnswerLost if sent else RedisTimeoutError)(sentence) from None
        finally:
            if connection is not None:
                await self._pool.release(connection)
