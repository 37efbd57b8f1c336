"""The registry: the services that were made at run time, and the processes that serve them.

| key                       | type | holds                                                     |
|---------------------------|------|-----------------------------------------------------------|
| `<prefix>:{*}:services`   | hash | name -> revision, incarnation, state, description (JSON)  |
| `<prefix>:{*}:replicas`   | hash | id of a process -> until when it is believed to live      |
| `<prefix>:{*}:adopted`    | hash | name -> the revision that adopted it                      |

The field `#revision` of the first counts the changes of all services, so that a process asks for
one number on each tick and reads the rest only when it has changed.  The incarnation is the
revision with which a service was made.  It is part of the names of the service's keys, so a process
that missed the deletion of a service cannot touch the keys of a new one with the same name.
A service of the environment has incarnation 0.  The first service of a name may adopt it: it gets
incarnation 0, and with it the entries and the tokens.
A service's name contains neither `#` nor `*`.
"""

import contextlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from queue_service.errors import StoreError
from queue_service.store.scripts import Scripts

log = logging.getLogger(__name__)

#: What a ring on the registry's channel says, and the name of its bell.
SERVICES = "services"


class ServiceState(StrEnum):
    """What is true of a service as a whole."""

    RUNNING = "running"
    STOPPED = "stopped"  # refuses everybody and keeps its entries
    DELETED = "deleted"  # its keys are being removed


@dataclass(frozen=True, slots=True)
class Registered:
    """One service as it is written down.

    revision: grows with each change of any service.  incarnation: see above.
    description: JSON, which is the services' business.
    """

    revision: int
    incarnation: int
    state: ServiceState
    description: str

    @classmethod
    def from_bytes(cls, text: bytes) -> "Registered":
        """Read what is written down; raises ValueError for what this version cannot read."""
        revision, incarnation, state, description = text.decode().split(" ", 3)
        return cls(int(revision), int(incarnation), ServiceState(state), description)


class Unreadable:
    """A service whose record this version cannot read: it exists, and nothing else is known."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All services by name, at one revision of the registry."""

    revision: int
    services: Mapping[str, Registered | Unreadable]


@dataclass(frozen=True, slots=True)
class Replica:
    """One process of the queue service that has lately said that it lives.

    about: what it says of itself.  age_ms: since it last said so.
    """

    id: str
    about: Mapping[str, object]
    age_ms: int


class Registry:
    """The registry of one Redis and key prefix; every method raises what a verb raises."""

    def __init__(self, scripts: Scripts, prefix: str) -> None:
        self._scripts = scripts
        self._services = [f"{prefix}:{{*}}:services"]
        self._adopted = f"{prefix}:{{*}}:adopted"
        self._replicas = [f"{prefix}:{{*}}:replicas"]
        #: The pub/sub channel that rings when a service was changed.
        self.channel = f"{prefix}:{{*}}:ring"

    async def read(self, known: int) -> Snapshot | None:
        """Give all services, or None when the revision is still the known one."""
        revision, *pairs = await self._ask("registered", self._services, known)
        if not revision.isdigit():
            raise StoreError("registered", f"the revision is no number: {revision[:64]!r}")
        if int(revision) == known:
            return None
        return Snapshot(
            int(revision),
            {
                name.decode("utf-8", "replace"): _read(name, text)
                for name, text in zip(pairs[::2], pairs[1::2], strict=True)
            },
        )

    async def write(
        self,
        name: str,
        state: ServiceState,
        description: str,
        *,
        expected: int | None,
        adopt: bool = False,
    ) -> bool:
        """Store a service; False, with nothing changed, when its revision is not the expected one.

        expected: 0 is a service that must not exist; None accepts any.
        adopt: if it is new, take over what a service of the environment has left.
        """
        wanted = "" if expected is None else expected
        keys = [*self._services, self._adopted]
        word, *_ = await self._ask(
            "register", keys, self.channel, name, state, description, wanted, int(adopt)
        )
        return bool(word == b"ok")

    async def forget(self, name: str, incarnation: int) -> None:
        """Remove the last trace of a deleted service, unless there is a new one."""
        await self._ask("forget", self._services, name, incarnation)

    async def announce(self, replica: str, about: Mapping[str, object], *, kept_ms: int) -> None:
        """Say that this process will live for this time."""
        await self._ask("announce", self._replicas, replica, json.dumps(about), kept_ms)

    async def leave(self, replica: str) -> None:
        """Say that this process ends."""
        await self._ask("announce", self._replicas, replica, "", 0)

    async def replicas(self) -> list[Replica]:
        """Give the processes that live, the one that has begun first before the others."""
        reply = await self._ask("announce", self._replicas, "", "", 0)
        found = []
        for at in range(0, len(reply), 3):
            with contextlib.suppress(ValueError, RecursionError):
                about = dict(json.loads(reply[at + 1]))
                found.append(Replica(reply[at].decode(), about, int(reply[at + 2])))
        return sorted(found, key=lambda replica: (str(replica.about.get("since_ms")), replica.id))

    async def _ask(self, verb: str, keys: list[str], *arguments: Any) -> Any:
        return await self._scripts.ask(verb, keys, arguments)


def _read(name: bytes, text: bytes) -> Registered | Unreadable:
    try:
        return Registered.from_bytes(text)
    except ValueError as error:
        log.error("What the registry has of service %r cannot be read: %s", name[:64], error)
        return Unreadable()
