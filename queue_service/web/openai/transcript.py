"""What a client has read of a stream, so that another attempt can continue it.  Pure."""

from collections.abc import Hashable, Iterator
from typing import Any

Json = dict[str, Any]


class Diverged(Exception):
    """A further attempt makes an answer other than the one that the client has begun to read."""

    def __init__(self) -> None:
        super().__init__(
            "the worker failed and the retry gave a different answer; send the request again"
        )


class _Field:
    """One string that grows.

    known: what earlier attempts made of it; the present one has repeated `at` characters of that.
    """

    __slots__ = ("at", "known", "pieces")

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.known = ""
        self.at = 0

    def begin_again(self) -> None:
        self.known, self.at = "".join(self.pieces), 0
        self.pieces = [self.known]

    @property
    def is_behind(self) -> bool:
        return self.at < len(self.known)


class Transcript:
    """The strings that were sent, by choice and field."""

    def __init__(self) -> None:
        self._fields: dict[tuple[int, Hashable], _Field] = {}
        self._behind: set[tuple[int, Hashable]] = set()

    @property
    def is_behind(self) -> bool:
        """True while the present attempt repeats what an earlier one has sent."""
        return bool(self._behind)

    def text(self, index: int, name: Hashable) -> str:
        """Return what was sent of a field."""
        field = self._fields.get((index, name))
        return "".join(field.pieces) if field else ""

    def begin_attempt(self) -> None:
        """Begin another attempt: it repeats what was sent, then continues."""
        for field in self._fields.values():
            field.begin_again()
        self._behind = {key for key, field in self._fields.items() if field.is_behind}

    def add(self, index: int, name: Hashable, piece: str) -> str:
        """Note the next piece of a field; return the part that was not sent yet.

        Raises Diverged if it differs from what was sent.
        """
        key = (index, name)
        field = self._fields.get(key)
        if field is None:
            field = self._fields[key] = _Field()
        if field.is_behind:
            shared = min(len(piece), len(field.known) - field.at)
            if not field.known.startswith(piece[:shared], field.at):
                raise Diverged
            field.at += shared
            piece = piece[shared:]
            if not field.is_behind:
                self._behind.discard(key)
        if piece:
            # A client that has read the second field believes that the first one is complete.
            if self._behind and any(choice == index for choice, _ in self._behind):
                raise Diverged
            field.pieces.append(piece)
        return piece


def strings_of(choice: Json) -> Iterator[tuple[Hashable, Json, str]]:
    """Yield the strings of a chunk's choice that grow: the name, and where the string is."""
    if isinstance(choice.get("text"), str):
        yield "text", choice, "text"
    delta = choice.get("delta")
    if not isinstance(delta, dict):
        return
    for name in delta:
        if isinstance(delta[name], str) and name != "role":
            yield name, delta, name
    for call_index, call in calls_of(delta):
        function = call.get("function")
        if isinstance(function, dict):
            for name in ("name", "arguments"):
                if isinstance(function.get(name), str):
                    yield (call_index, name), function, name


def calls_of(delta: Json) -> Iterator[tuple[int, Json]]:
    """Yield the tool calls of a delta, each with its index."""
    calls = delta.get("tool_calls")
    for position, call in enumerate(calls if isinstance(calls, list) else []):
        if isinstance(call, dict):
            index = call.get("index")
            yield index if isinstance(index, int) else position, call
