"""Runs the Lua scripts with EVALSHA: one file per operation, with the modules that it declares.

EVALSHA addresses a script by its hash, so two versions of the service can use one Redis, each with
its own scripts.
"""

import asyncio
import hashlib
import logging
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hiredis import pack_command
from redis.exceptions import (
    AskError,
    BusyLoadingError,
    ClusterDownError,
    ConnectionError,
    MovedError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import TimeoutError as RedisTimeoutError

from client_sdk.cancellation import notice_cancellation
from queue_service.errors import NewerFormat, OutcomeUnknown, StoreError, StoreUnavailable
from queue_service.store.durability import PROMISING, AnswerLost, Confirmation, NotDurable, ask
from queue_service.store.prelude import read_sources
from queue_service.store.servers import Pool, Servers, ask_any
from queue_service.store.slices import Slices

log = logging.getLogger(__name__)

#: Redis is down, starting, or refuses writes.  The operation was not executed, unless the error is
#: an AnswerLost.
AWAY = (
    ConnectionError,
    RedisTimeoutError,
    BusyLoadingError,
    ReadOnlyError,
    OutOfMemoryError,
    # A slot has no reachable master (MasterDownError is a subclass).
    ClusterDownError,
)

#: How many servers are pinged before Redis counts as down.
PING_TRIES = 3

#: While a slot moves between nodes, both refuse commands with several of its keys.  The pause
#: before such a command is sent again, in seconds.
TRY_AGAIN_S = 0.02

#: The error of prelude/keys.lua for entries in a newer format than it knows.
_NEWER_FORMAT = re.compile(r"NEWER_FORMAT (\d+) (\d+)")

#: Errors with which Redis refuses writes from a script.  Before Redis 7 the word is not the first.
_TAKES_NO_WRITES = re.compile(r"-?(OOM|MISCONF|NOREPLICAS|READONLY|MASTERDOWN|CLUSTERDOWN) ")

#: Those of a server that is not the master, or not any more.
_IS_NO_MASTER = re.compile(r"-?(NOREPLICAS|READONLY|MASTERDOWN|CLUSTERDOWN) ")


def _is_elsewhere(error: RedisError) -> bool:
    """Return whether another server may be able to answer."""
    if isinstance(error, AWAY):
        return not isinstance(error, OutOfMemoryError)
    return _IS_NO_MASTER.search(str(error)) is not None


@dataclass(slots=True)
class _Call:
    """Progress of one call."""

    pool: Pool | None = None
    #: Whether a server may have executed it.
    sent: bool = False


class Scripts:
    """Runs scripts on the server that has their keys."""

    def __init__(self, servers: Servers, confirmation: Confirmation, *, timeout_s: float) -> None:
        self._servers = servers
        self._confirmation = confirmation
        self._timeout_s = timeout_s
        self._away_since: float | None = None
        #: Limits scans of stored entries to one at a time.
        self.slices = Slices()
        #: Why this version must not touch the stored data, or "".
        self.newer_format = ""
        self._sources = read_sources()
        self._digests = {
            verb: hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
            for verb, source in self._sources.items()
        }

    async def run(self, verb: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """Run the script of this operation; raises the errors of redis-py.

        It runs once or not at all.  AnswerLost means that it is not known which, or that its writes
        were not confirmed.  The first key determines the server, which must have all other keys.
        """
        promised = verb in PROMISING
        try:
            command = ("EVALSHA", self._digests[verb], len(keys), *keys, *arguments)
            return await self._send(keys[0], command, promised=promised)
        except NoScriptError:
            # Redis forgets its scripts when it restarts, and a former replica never had them.
            # Nothing was executed.
            command = ("EVAL", self._sources[verb], len(keys), *keys, *arguments)
            return await self._send(keys[0], command, promised=promised)

    async def command(self, key: str, *command: Any, promised: bool = False) -> Any:
        """Send one command to the server of this key; raises as `run` does.

        promised: its success is reported to a client, so its write must be durable first.
        """
        return await self._send(key, command, promised=promised)

    async def ping(self, *, try_s: float) -> None:
        """Wait for a response of any server; try several if there are several.

        Raises the errors of redis-py, TimeoutError, or NotDurable if a server responds but is not
        configured for the requested durability.
        """
        for tries_left in reversed(range(PING_TRIES)):
            pool = await self._servers.any_pool()
            try:
                async with asyncio.timeout(try_s):
                    await ask_any(pool, "PING")
                return
            except NotDurable:
                raise
            except (RedisError, OSError, TimeoutError):
                await self._servers.doubt(pool)
                if not tries_left:
                    raise

    async def ask(self, verb: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """Run the script of this operation; raises StoreUnavailable or StoreError."""
        try:
            return await self.run(verb, keys, arguments)
        except AWAY as error:
            reason = str(error) or type(error).__name__
            if isinstance(error, AnswerLost):
                raise OutcomeUnknown(verb, reason) from error
            raise StoreUnavailable(verb, reason) from error
        except RedisError as error:
            if found := _NEWER_FORMAT.search(str(error)):
                raise self._note_newer(NewerFormat(verb, found[1], found[2])) from error
            if _TAKES_NO_WRITES.search(str(error)):
                raise StoreUnavailable(verb, str(error)) from error
            raise StoreError(verb, str(error)) from error

    def _note_newer(self, error: NewerFormat) -> NewerFormat:
        """Log once that a newer version wrote to this Redis: this process cannot go on."""
        if not self.newer_format:
            self.newer_format = error.reason
            log.critical("%s", error.reason[:1].upper() + error.reason[1:])
        return error

    def _note_away(self, error: Exception) -> None:
        """Log an outage once, not once per call."""
        if self._away_since is None:
            self._away_since = time.monotonic()
            log.warning("The store does not answer: %s", error)

    def _note_back(self) -> None:
        assert self._away_since is not None
        log.warning("The store answers again, after %.1f s.", time.monotonic() - self._away_since)
        self._away_since = None

    async def _send(self, key: str, command: tuple[Any, ...], *, promised: bool) -> Any:
        call = _Call()
        try:
            reply = await self._call(call, key, command, promised=promised)
        except RedisError as error:
            if isinstance(error, AWAY):
                self._note_away(error)
            if call.pool is not None and _is_elsewhere(error):
                await self._servers.doubt(call.pool)
            raise
        if self._away_since is not None:
            self._note_back()
        notice_cancellation()
        return reply

    async def _call(
        self, call: _Call, key: str, command: tuple[Any, ...], *, promised: bool
    ) -> Any:
        """Send one command to the server of its key, and read the reply."""
        try:
            async with asyncio.timeout(self._timeout_s):
                call.pool = self._servers.known_pool(key) or await self._servers.find_pool(key)
                packed, asking = pack_command(command), False
                while True:
                    try:
                        return await self._exchange(call, packed, asking=asking, promised=promised)
                    except AskError as error:
                        asking = not isinstance(error, MovedError)
                        call.pool = await self._servers.redirected_pool(error)
                    except TryAgainError:
                        await asyncio.sleep(TRY_AGAIN_S)
                        call.pool = await self._servers.find_pool(key)
                        asking = False
        except BusyLoadingError:
            raise
        except ConnectionError as error:
            if call.sent and not isinstance(error, AnswerLost):
                raise AnswerLost(str(error)) from error
            raise
        except TimeoutError:
            sentence = f"no answer within {self._timeout_s:g} s"
            raise (AnswerLost if call.sent else RedisTimeoutError)(sentence) from None

    async def _exchange(self, call: _Call, packed: bytes, *, asking: bool, promised: bool) -> Any:
        """Send one command on one connection.

        hiredis packs the command: redis-py does so in Python, which took a tenth of a put's time.
        """
        assert call.pool is not None
        pool, call.sent = call.pool, False
        connection = await pool.get_connection()  # type: ignore[no-untyped-call]
        try:
            if asking:
                await ask(connection, "ASKING")
            call.sent = True
            await connection.send_packed_command(packed, check_health=False)
            reply = await connection.read_response()
            if promised:
                await self._confirmation.confirm(connection)
            return reply
        except ResponseError:
            # It was refused or it failed: in both cases Redis has responded.
            call.sent = False
            raise
        except asyncio.CancelledError:
            # A late reply must not become the reply of the next command on this connection.
            await connection.disconnect(nowait=True)
            raise
        finally:
            await pool.release(connection)
