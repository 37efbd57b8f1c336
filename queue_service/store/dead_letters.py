"""The dead letters of one queue in Redis: a method for each verb, each the caller of one script."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from client_sdk.wire.failures import type_named
from client_sdk.wire.names import REQUEST_ID_TAG
from queue_service.store.owners import owner_of, plain_name

#: Calls a script: the verb and its arguments.
Run = Callable[[str, Sequence[Any]], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An entry that is handed out no more, and how it came to that.

    index: the one that the entry had; it names the letter too.  reason: `MaxDelivery` when it was
    handed out as often as permitted, `Failed` when its worker gave it up, `PoisonJob` when it
    killed engines.  code, error, type: how its last hand-out failed.  attempts: hand-outs.  uid:
    who had it last.  deaths: the users whose engines died while they ran it.  Times are
    milliseconds since 1970, by Redis' clock.  owner: whose the entry is, "" for the service's own.
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
        tags: dict[str, str] = json.loads(self.tags_json)
        return {**tags, REQUEST_ID_TAG: self.request_id}


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

    last, go_on: where the walk ends, and where it goes on, "" when all were seen.
    refusal: "full" or "ended" when the queue took no more, else "".
    replayed: (index, new index, request id) of each.
    absent: indexes without a letter.  in_use: those whose request id is in the queue already.
    """

    last: str
    go_on: str
    refusal: str
    replayed: list[tuple[int, int, str]]
    absent: list[int]
    in_use: list[int]


class DeadLetterStore:
    """The dead letters of one queue."""

    def __init__(self, run: Run) -> None:
        self._run = run

    async def list_dead(
        self, choice: Choice, *, after: str, most: int
    ) -> tuple[list[DeadLetter], str]:
        """Give letters, the oldest first, and where to go on, "" when all were seen."""
        go_on, *letters = await self._run("list_dead", [after or "0", choice.to_json(), most])
        return [DeadLetter.from_reply(letter) for letter in letters], go_on.decode()

    async def show_dead(self, index: int) -> tuple[DeadLetter, bytes] | None:
        """Give one letter and its data."""
        reply = await self._run("show_dead", [index])
        return (DeadLetter.from_reply(reply[0]), reply[1]) if reply else None

    async def edit_dead(
        self, index: int, *, data: bytes | None, tags: Mapping[str, str | None]
    ) -> bool:
        """Change a letter; tags are laid over its own, None takes one away."""
        arguments = [index, int(data is not None), data or b"", json.dumps(dict(tags))]
        return bool(await self._run("edit_dead", arguments) == 1)

    async def replay(
        self, choice: Choice, *, after: str = "", last: str = "", most: int
    ) -> Replayed:
        """Put letters back at the tail of the queue, one step of a walk."""
        reply = await self._run("replay", [after or "0", last, choice.to_json(), most])
        return Replayed(
            last=reply[0].decode(),
            go_on=reply[1].decode(),
            refusal=reply[2].decode(),
            replayed=[
                (int(old), int(new), plain_name(name.decode())) for old, new, name in reply[3]
            ],
            absent=[int(index) for index in reply[4]],
            in_use=[int(index) for index in reply[5]],
        )

    async def purge(
        self, choice: Choice, *, after: str = "", last: str = "", most: int
    ) -> tuple[str, str, int]:
        """Remove letters, one step of a walk: (where it ends, where it goes on, how many)."""
        end, go_on, removed = await self._run("purge", [after or "0", last, choice.to_json(), most])
        return end.decode(), go_on.decode(), int(removed)
