"""The whole completion that the chunks of a stream are parts of.  Pure."""

from typing import Any

from client_sdk.wire.chunks import Chunk, choices_of, delta_of, index_of

#: Strings of a delta that are the same in each chunk; all others grow.
_SAME = ("role", "id", "type")
#: Parts of an answer that its text does not contain.
_BESIDE_TEXT = ("tool_calls", "function_call", "refusal", "audio")


class _Grown(list[str]):
    """The pieces of a string."""


class Completion:
    """Grows by chunks.

    is_more_than_text: the text of the first choice is not all of the answer.
    """

    def __init__(self) -> None:
        self.is_more_than_text = False
        self._head: Chunk = {}
        self._choices: dict[int, dict[str, Any]] = {}
        self._usage: Any = None

    def add(self, chunk: Chunk) -> None:
        """Add the next chunk; raises BadChunk."""
        if not self._head:
            self._head = {name: chunk[name] for name in chunk if name not in ("choices", "usage")}
        self._usage = chunk.get("usage") or self._usage
        for choice in choices_of(chunk):
            index, delta = index_of(choice), delta_of(choice)
            if index or any(delta.get(name) for name in _BESIDE_TEXT):
                self.is_more_than_text = True
            whole = self._choices.setdefault(index, {})
            rest = {name: choice[name] for name in choice if name not in ("index", "delta")}
            reason = rest.pop("finish_reason", None) or whole.get("finish_reason")
            _merge(whole, rest if "delta" not in choice else {**rest, "message": delta})
            whole["finish_reason"] = reason

    def whole(self) -> Chunk:
        """Return the completion as a server returns it without a stream."""
        choices = [
            {"index": index, **_plain(self._choices[index])} for index in sorted(self._choices)
        ]
        kind = "text_completion" if any("text" in one for one in choices) else "chat.completion"
        usage = {} if self._usage is None else {"usage": self._usage}
        return {**self._head, "object": kind, "choices": choices, **usage}


def _merge(whole: dict[str, Any], part: dict[str, Any]) -> None:
    for name, value in part.items():
        have = whole.get(name)
        match value:
            case None:
                whole.setdefault(name, None)
            case str() if name not in _SAME:
                if not isinstance(have, _Grown):
                    have = whole[name] = _Grown()
                have.append(value)
            case dict():
                if not isinstance(have, dict):
                    have = whole[name] = {}
                _merge(have, value)
            case list() if name == "tool_calls":
                if not isinstance(have, dict):
                    have = whole[name] = {}
                _merge_calls(have, value)
            case list() if isinstance(have, list) and not isinstance(have, _Grown):
                have.extend(value)
            case _:
                whole[name] = value


def _merge_calls(calls: dict[int, Any], parts: list[Any]) -> None:
    for position, part in enumerate(parts):
        if isinstance(part, dict):
            index = part.get("index")
            call = calls.setdefault(index if isinstance(index, int) else position, {})
            _merge(call, {name: part[name] for name in part if name != "index"})


def _plain(value: Any, name: str = "") -> Any:
    match value:
        case _Grown():
            return "".join(value)
        case dict() if name == "tool_calls":
            return [_plain(value[index]) for index in sorted(value)]
        case dict():
            return {key: _plain(value[key], key) for key in value}
        case list():
            return [_plain(one) for one in value]
        case _:
            return value
