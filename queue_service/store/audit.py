"""The audit log: what operators asked for, in a stream that is bounded by count and age.

| key                   | type   | holds                                                        |
|-----------------------|--------|--------------------------------------------------------------|
| `<prefix>:{*}:audit`  | stream | one entry for each change that an operator has asked for     |
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from redis.exceptions import RedisError

from queue_service.errors import StoreUnavailable
from queue_service.store.scripts import Scripts

#: How many entries one look reads.
STEP = 500


@dataclass(frozen=True, slots=True)
class Audited:
    """One change that a client was admitted to ask for.

    who: the id of the token, "admin" for the admin token, "service" for a service's own.  remote:
    the address of the client.  route: as documents write it.  path: with its query.
    status: of the response.  about: what the change has made, such as the id of a token.
    """

    who: str
    remote: str
    method: str
    route: str
    path: str
    service: str
    status: int
    about: str = ""


class AuditLog:
    """Writes and reads the log; every method raises StoreUnavailable.

    most: entries that are kept.  kept_ms: for how long.
    """

    def __init__(self, scripts: Scripts, key_prefix: str, *, most: int, kept_ms: int) -> None:
        self._scripts = scripts
        self._key = f"{key_prefix}:{{*}}:audit"
        self._most = most
        self._kept_ms = kept_ms

    async def write(self, entry: Audited) -> None:
        """Add an entry, and remove what is too old or too much."""
        text = json.dumps(asdict(entry))
        added = await self._ask("XADD", "MAXLEN", self._most, "*", "e", text)
        at_ms = int(added.partition(b"-")[0])
        await self._ask("XTRIM", "MINID", max(0, at_ms - self._kept_ms))
        # A log to which nothing is added any more expires as well.
        await self._ask("PEXPIRE", self._kept_ms)

    async def read(self, before: str, most: int) -> Sequence[tuple[str, Audited]]:
        """Return the newest entries with their ids, or those before an id; the newest first."""
        end = f"({before}" if before else "+"
        found = await self._ask("XREVRANGE", end, "-", "COUNT", min(most, STEP))
        return [(entry_id.decode(), Audited(**json.loads(fields[1]))) for entry_id, fields in found]

    async def _ask(self, command: str, *arguments: Any) -> Any:
        try:
            return await self._scripts.command(self._key, command, self._key, *arguments)
        except (RedisError, OSError, TimeoutError) as error:
            raise StoreUnavailable("audit", str(error)) from error
