"""The dead letters of one queue in Redis: a method for each verb, each the caller of one script."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from client_sdk.wire.failures import type_named
from client_sdk.wire.names import REQUEST_ID_TAG
from queue_service.store.outcomes import Refusal
from queue_service.store.owners import owner_of, plain_name
from queue_service.store.payload import FileOfEntry, files_of, payload_of, shown_tags

#: Where a walk over dead letters begins, as the scripts take it.
BEGIN = "0"
#: Why a queue takes no more, in the words of replay.lua.
_REFUSALS = {b"": None, b"full": Refusal.FULL, b"ended": Refusal.ENDED}

#: Calls a script: the verb and its arguments.
Run = Callable[[str, Sequence[Any]], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An entry that is not delivered any more, and why.

    index: that of the entry, which also names the letter.  reason: `MaxDelivery` after the last
    permitted delivery, `Failed` when its worker gave it up, `PoisonJob` when it killed engines.
    code, error, type: how its last delivery failed.  attempts: deliveries.  uid: who had it last.
    deaths: the users whose engines died while they ran it.  Times are milliseconds since 1970, by
    Redis' clock.  owner: "" for the service itself.
    """

    index: int
    request_id: str
    tags_json: bytes
    stored_at_ms: int
    path: str
    content_type: str
    priority: int
    size_bytes: int
    reason: str
    code: str
    error: str
    attempts: int
    uid: str
    deaths: tuple[str, ...]
    parked_at_ms: int
    type: str
    owner: str = ""

    @classmethod
    def from_reply(cls, reply: Sequence[Any]) -> "DeadLetter":
        """Read what render_letter in prelude/dead_letters.lua writes."""
        return cls(
            index=int(reply[0]),
            request_id=plain_name(_text(reply[1])),
            tags_json=reply[2],
            stored_at_ms=int(reply[3]),
            path=_text(reply[4]),
            content_type=_text(reply[5]),
            priority=int(reply[6]),
            size_bytes=int(reply[7]),
            reason=_text(reply[8]),
            code=_text(reply[9]),
            error=_text(reply[10]),
            attempts=int(reply[11]),
            uid=plain_name(_text(reply[12])),
            deaths=tuple(plain_name(_text(uid)) for uid in reply[13]),
            parked_at_ms=int(reply[14]),
            type=type_named(_text(reply[15]), _text(reply[9])),
            owner=owner_of(_text(reply[1])),
        )

    def tags(self) -> dict[str, str]:
        """The tags as a client sees them: its own, and the request id."""
        return {**shown_tags(self.tags_json), REQUEST_ID_TAG: self.request_id}

    @property
    def payload_bytes(self) -> int:
        """The size of its payload, wherever that is."""
        file = payload_of(self.files)
        return self.size_bytes if file is None else file.size_bytes

    @property
    def files(self) -> tuple[FileOfEntry, ...]:
        """The contents outside Redis that it owns."""
        return files_of(self.tags_json)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Choice:
    """Which dead letters: those with these indexes, or all that are as the other fields say.

    owner: None is whosever they are, "" the service's own.
    """

    ids: tuple[int, ...] = ()
    code: str = ""
    reason: str = ""
    request_id: str = ""
    owner: str | None = None

    def to_json(self) -> str:
        if self.ids:
            return json.dumps({"ids": [str(index) for index in self.ids]})
        named = {"code": self.code, "reason": self.reason, "request_id": self.request_id}
        chosen = {name: value for name, value in named.items() if value}
        return json.dumps(chosen if self.owner is None else {**chosen, "owner": self.owner})


@dataclass(frozen=True, slots=True)
class Replayed:
    """What one step of a replay did.

    last: where the walk ends.  go_on: where it goes on; None when it has ended.
    refusal: why the queue took no more, if so.
    replayed: (index, new index, request id) of each.
    absent: indexes without a letter.  in_use: those whose request id is in the queue already.
    """

    last: str
    go_on: str | None
    refusal: Refusal | None
    replayed: list[tuple[int, int, str]]
    absent: list[int]
    in_use: list[int]


@dataclass(frozen=True, slots=True)
class PurgedLetters:
    """What one step of a purge did: how many letters it removed; the rest as for Replayed."""

    last: str
    go_on: str | None
    removed: int


class DeadLetterStore:
    """The dead letters of one queue."""

    def __init__(self, run: Run) -> None:
        self._run = run

    async def list_dead(
        self, choice: Choice, *, after: str | None, most: int
    ) -> tuple[list[DeadLetter], str | None]:
        """Give letters, the oldest first, and where to go on; None when all were seen.

        after: where an earlier call said to go on; None is the beginning.
        """
        go_on, *letters = await self._run("list_dead", [after or BEGIN, choice.to_json(), most])
        return [DeadLetter.from_reply(letter) for letter in letters], go_on.decode() or None

    async def show_dead(self, index: int) -> tuple[DeadLetter, bytes] | None:
        """Give one letter and its data."""
        reply = await self._run("show_dead", [index])
        return (DeadLetter.from_reply(reply[0]), reply[1]) if reply else None

    async def edit_dead(
        self,
        index: int,
        *,
        data: bytes | None,
        tags: Mapping[str, str | None],
        file: FileOfEntry | None = None,
    ) -> bool:
        """Change a letter; tags are laid over its own, None takes one away.

        file: its new payload, if that is outside Redis; `data` is empty then.
        """
        new = json.dumps(file.to_object()) if file else ""
        arguments = [index, int(data is not None), data or b"", json.dumps(dict(tags)), new]
        return bool(await self._run("edit_dead", arguments) == 1)

    async def replay(
        self, choice: Choice, *, after: str | None = None, last: str = "", most: int
    ) -> Replayed:
        """Put letters back at the tail of the queue, one step of a walk.

        after, last: `go_on` and `last` of the step before; without them the walk begins.
        """
        reply = await self._run("replay", [after or BEGIN, last, choice.to_json(), most])
        return Replayed(
            last=reply[0].decode(),
            go_on=reply[1].decode() or None,
            refusal=_REFUSALS[reply[2]],
            replayed=[
                (int(old), int(new), plain_name(name.decode())) for old, new, name in reply[3]
            ],
            absent=[int(index) for index in reply[4]],
            in_use=[int(index) for index in reply[5]],
        )

    async def purge(
        self, choice: Choice, *, after: str | None = None, last: str = "", most: int
    ) -> PurgedLetters:
        """Remove letters, one step of a walk; see replay."""
        arguments = [after or BEGIN, last, choice.to_json(), most]
        end, go_on, removed = await self._run("purge", arguments)
        return PurgedLetters(end.decode(), go_on.decode() or None, int(removed))
