"""The schemas that the inputs of a service must match: those of its connected workers.

While workers are replaced, several versions are connected.  An input is accepted if it matches any
of them, and without a check while a worker is connected that declares nothing.  Without workers,
the version that connected last counts.
"""

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from client_sdk.wire.codes import Code
from client_sdk.wire.greeting import MAX_INTERFACE_BYTES
from queue_service.delivery.doorbell import Doorbell
from queue_service.errors import ServiceError, StoreError, StoreUnavailable
from queue_service.service.input_schema import InputSchema
from queue_service.service.queues import Queue
from queue_service.service.schema_cost import BadSchema
from queue_service.service.schema_wording import Wrong
from queue_service.store.interfaces import InterfaceStore

log = logging.getLogger(__name__)

#: A ring tells of new versions at once; how long others may go unnoticed, in seconds: workers that
#: have left, and rings that were lost.
LOOK_AGAIN_S = 5.0
#: The most versions that are kept; further ones replace those without connected workers.
MOST_VERSIONS = 8
#: The name in what operators see of a worker.
ABOUT = "interface"


class InvalidInput(ServiceError):
    """The input does not match the schema of the service; nothing was stored."""

    code = Code.INVALID_INPUT

    def __init__(self, wrong: Sequence[Wrong]) -> None:
        super().__init__("; ".join(map(str, wrong)))
        self.wrong = tuple(wrong)


@dataclass(frozen=True, slots=True)
class Declared:
    """One version of what workers declare.

    document: as they sent it.  inputs: None if inputs are not declared, or cannot be checked.
    """

    digest: str
    document: dict[str, Any]
    inputs: InputSchema | None = None


class Interfaces:
    """What the workers of one service declare, as this process knows it."""

    def __init__(self, store: InterfaceStore, queue: Queue, *, gid: str, bell: Doorbell) -> None:
        self._store = store
        self._queue = queue
        self._gid = gid
        self._bell = bell
        self._rings = -1
        self._look_at = 0.0
        self._accepted: tuple[Declared, ...] = ()
        self._is_checked = False
        self._known: dict[str, Declared] = {}
        self._looking: asyncio.Task[None] | None = None

    async def connected(self, interface: bytes) -> str:
        """Note what a connecting worker declares; return its digest, "" for nothing."""
        newest = await self._store.newest()
        if interface and newest == _digest_of(interface):
            return newest
        if not interface or (declared := _declared(interface)) is None:
            if newest:
                await self._store.note_none()
            return ""
        self._known[declared.digest] = declared
        count = await self._store.add(declared.digest, interface)
        if count > MOST_VERSIONS:
            digests, _ = await self._live()
            await self._store.keep_only({declared.digest, *digests})
        return declared.digest

    async def check(self, data: bytes, *, content_type: str, path: str = "") -> None:
        """Raise InvalidInput for an input that matches none of the schemas."""
        # Hot path: without a schema this compares two numbers.
        if self._is_stale:
            await self._look()
        if not self._is_checked:
            return
        first: list[Wrong] = []
        for declared in self._accepted:
            if declared.inputs is None:
                return
            wrong = declared.inputs.wrong(data, content_type=content_type, path=path)
            if not wrong:
                return
            first = first or wrong
        raise InvalidInput(first)

    async def newest(self) -> Declared | None:
        """Return what the worker declares that has connected last; None for nothing."""
        digest = await self._store.newest()
        found = await self._read([digest]) if digest else await self.accepted()
        return found[0] if found else None

    async def accepted(self) -> tuple[Declared, ...]:
        """Return the versions of which an input must match one; none if nothing is checked."""
        if self._is_stale:
            await self._look()
        return self._accepted if self._is_checked else ()

    @property
    def _is_stale(self) -> bool:
        return self._rings != self._bell.rings or time.monotonic() >= self._look_at

    async def _look(self) -> None:
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look_now())
        await asyncio.shield(self._looking)

    async def _look_now(self) -> None:
        rings = self._bell.rings
        try:
            newest = await self._store.newest()
            digests, has_other = ([], True) if newest is None else await self._live()
            wanted = [] if has_other else list(dict.fromkeys(_newest_first(newest or "", digests)))
            found = await self._read(wanted)
        except (StoreUnavailable, StoreError) as error:
            if self._rings < 0:
                raise
            # The put that asks probably meets the same, and says so.
            log.debug("The schemas of %s were not read: %s", self._queue.service, error)
            return
        self._accepted = tuple(found)
        # Without one that cannot be read, nobody knows what its worker accepts.
        self._is_checked = bool(found) and len(found) == len(wanted)
        self._known = {one.digest: one for one in found}
        self._rings, self._look_at = rings, time.monotonic() + LOOK_AGAIN_S

    async def _live(self) -> tuple[list[str], bool]:
        """Return the digests of connected workers, and whether one declares nothing."""
        state = await self._queue.attributes()
        abouts = [
            one.about
            for one in state.subscribers
            if one.gid == self._gid and one.connected and not one.leaving
        ]
        digests = [digest for about in abouts if isinstance(digest := about.get(ABOUT), str)]
        return digests, len(digests) < len(abouts)

    async def _read(self, digests: Sequence[str]) -> list[Declared]:
        missing = [digest for digest in digests if digest not in self._known]
        for digest, text in zip(missing, await self._store.read(missing), strict=True):
            if text is not None and (declared := _declared(text)) is not None:
                self._known[digest] = declared
        return [self._known[digest] for digest in digests if digest in self._known]


def _newest_first(newest: str, digests: Sequence[str]) -> list[str]:
    if newest in digests or (newest and not digests):
        return [newest, *digests]
    return list(digests)


def _digest_of(interface: bytes) -> str:
    return hashlib.sha256(interface).hexdigest()[:32]


def _declared(interface: bytes) -> Declared | None:
    """Read what a worker declares; None if it is nothing of use."""
    digest = _digest_of(interface)
    if len(interface) > MAX_INTERFACE_BYTES:
        log.warning("A worker's schema is ignored: expected at most %d bytes.", MAX_INTERFACE_BYTES)
        return None
    try:
        document = json.loads(interface)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        log.warning("A worker's schema is ignored: expected a JSON object.")
        return None
    if "input" not in document:
        return Declared(digest, document)
    try:
        return Declared(digest, document, InputSchema(document["input"]))
    except BadSchema as error:
        log.warning("Inputs are not checked against a worker's schema: %s", error)
    except Exception:
        # A worker wrote it, so it can be anything.
        log.exception("Inputs are not checked against a worker's schema.")
    return None
