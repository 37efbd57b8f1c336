"""The Lua scripts: one file per verb, each behind the common prelude, run by EVALSHA.

EVALSHA is content-addressed: two versions of the service run side by side on one Redis, each
with its own scripts, and nothing has to be migrated.
"""

import hashlib
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from queue_service.store.cancellation import notice_cancellation

#: What every verb is built on, in the order in which it is put together.
PRELUDE = ("keys", "records", "groups", "request_ids", "entries", "settle")


def read_prelude() -> str:
    """Return what stands before each verb's own text."""
    folder = files(__package__) / "lua" / "prelude"
    return "\n".join((folder / f"{name}.lua").read_text() for name in PRELUDE)


def read_sources() -> dict[str, str]:
    """Return the whole text of each verb's script, by verb."""
    prelude = read_prelude()
    return {
        file.name.removesuffix(".lua"): f"{prelude}\n{file.read_text()}"
        for file in (files(__package__) / "lua").iterdir()
        if file.name.endswith(".lua")
    }


class Scripts:
    """Runs a verb on one Redis."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._sources = read_sources()
        self._digests = {
            verb: hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()
            for verb, source in self._sources.items()
        }

    async def run(self, verb: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """Run the script of this verb; raises what redis-py raises."""
        digest = self._digests[verb]
        try:
            reply = await self._redis.evalsha(digest, len(keys), *keys, *arguments)
        except NoScriptError:
            # A Redis that has restarted forgets its scripts; nothing of the verb has run.
            source = self._sources[verb]
            reply = await self._redis.eval(source, len(keys), *keys, *arguments)
        notice_cancellation()
        return reply
