"""The Lua scripts: one file per verb, with the modules that it declares, run by EVALSHA.

EVALSHA is content-addressed: two versions of the service run side by side on one Redis, each
with its own scripts, and nothing has to be migrated.
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

from queue_service.errors import NewerFormat, OutcomeUnknown, StoreError, StoreUnavailable
from queue_service.store.cancellation import notice_cancellation
from queue_service.store.durability import PROMISING, AnswerLost, Confirmation, NotDurable, ask
from queue_service.store.prelude import read_sources
from queue_service.store.servers import Pool, Servers, ask_any
from queue_service.store.slices import Slices

log = logging.getLogger(__name__)

#: Redis is not there, or not yet, or takes no writes: nothing of the verb was decided, unless it
#: is an AnswerLost.
AWAY = (
    ConnectionError,
    RedisTimeoutError,
    BusyLoadingError,
    ReadOnlyError,
    OutOfMemoryError,
    # A slot is without a master, or without contact to it (MasterDownError is one of these).
    ClusterDownError,
)

#: Servers that are asked for a sign of life before there is said to be none.
PING_TRIES = 3

#: While a slot moves from node to node both refuse what needs several of its keys; how long
#: until they are asked again, in seconds.
TRY_AGAIN_S = 0.02

#: How prelude/keys.lua says that the entries are stored in a newer format than it knows.
_NEWER_FORMAT = re.compile(r"NEWER_FORMAT (\d+) (\d+)")

#: How Redis says from within a script that it takes no writes, by the first word or, before
#: Redis 7, by a later one.
_TAKES_NO_WRITES = re.compile(r"-?(OOM|MISCONF|NOREPLICAS|READONLY|MASTERDOWN|CLUSTERDOWN) ")

#: And how a server says so that may no longer be, or not yet, the one to ask.
_IS_NO_MASTER = re.compile(r"-?(NOREPLICAS|READONLY|MASTERDOWN|CLUSTERDOWN) ")


def _is_elsewhere(error: RedisError) -> bool:
    """Say whether another server may answer where this one has failed."""
    if isinstance(error, AWAY):
        return not isinstance(error, OutOfMemoryError)
    return _IS_NO_MASTER.search(str(error)) is not None


@dataclass(slots=True)
class _Call:
    """How far one call has come."""

    pool: Pool | None = None
    #: True from the moment when a server may carry it out until that server has refused it.
    sent: bool = False


class Scripts:
    """Runs a verb where its keys are."""

    def __init__(self, servers: Servers, confirmation: Confirmation, *, timeout_s: float) -> None:
        self._servers = servers
        self._confirmation = confirmation
        self._timeout_s = timeout_s
        self._away_since: float | None = None
        #: Whose turn it is to walk over what is stored.
        self.slices = Slices()
        #: Why this version may not touch what is stored, or "".
        self.newer_format = ""
        self._sources = read_sources()
        self._digests = {
            verb: hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
            for verb, source in self._sources.items()
        }

    async def run(self, verb: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """Run the script of this verb; raises what redis-py raises.

        It has run once or not at all; AnswerLost when it is not known which, or when its writes
        were not confirmed.  The first key says where, and the others must be there too.
        """
        promised = verb in PROMISING
        try:
            command = ("EVALSHA", self._digests[verb], len(keys), *keys, *arguments)
            return await self._send(keys[0], command, promised=promised)
        except NoScriptError:
            # A Redis that has restarted forgets its scripts, and one that was a replica does
            # not know them; nothing of the verb has run.
            command = ("EVAL", self._sources[verb], len(keys), *keys, *arguments)
            return await self._send(keys[0], command, promised=promised)

    async def command(self, key: str, *command: Any, promised: bool = False) -> Any:
        """Send one command to where this key is; raises as `run` does.

        promised: somebody is told that it is done, so its write has to be confirmed.
        """
        return await self._send(key, command, promised=promised)

    async def ping(self, *, try_s: float) -> None:
        """Return when a server has answered, of whom several are tried where there are several.

        Raises what redis-py raises, TimeoutError, or NotDurable when it answers but is not set up
        for the durability asked for.
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
        """Run the script of this verb; raises StoreUnavailable or StoreError."""
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
        """Say once that a newer version has been here: this process is of no use any more."""
        if not self.newer_format:
            self.newer_format = error.reason
            log.critical("%s", error.reason[:1].upper() + error.reason[1:])
        return error

    def _note_away(self, error: Exception) -> None:
        """Say once that the store is away, however many calls find it so."""
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
        """Send one command to where its key is, and read its reply."""
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

        The library's own way packs commands in Python, which took a tenth of a put's time.
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
            # It was refused, or has failed: either way it has been answered.
            call.sent = False
            raise
        except asyncio.CancelledError:
            # What comes too late on this connection must not answer the next command.
            await connection.disconnect(nowait=True)
            raise
        finally:
            await pool.release(connection)
