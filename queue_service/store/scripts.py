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

_PRELUDE = "prelude"


def read_sources() -> dict[str, str]:
    """Return the whole text of each verb's script, by verb."""
    folder = files(__package__) / "lua"
    prelude = (folder / f"{_PRELUDE}.lua").read_text()
    names = sorted(file.name.removesuffix(".lua") for file in folder.iterdir())
    return {
        name: prelude + "\n" + (folder / f"{name}.lua").read_text()
        for name in names
        if name != _PRELUDE
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
            return await self._redis.evalsha(digest, len(keys), *keys, *arguments)
        except NoScriptError:
            # A Redis that has restarted forgets its scripts; nothing of the verb has run.
            return await self._redis.eval(self._sources[verb], len(keys), *keys, *arguments)
