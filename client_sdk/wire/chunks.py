"""Chunks of an OpenAI stream beside the text of a job's events.  Pure.

A job's events carry the text of the first choice.  What else a server streams (tool calls,
reasoning, log probabilities, other choices, finish reasons, unknown fields) travels with them as
*lines*: JSON, one per line.

    [at, {...}]         a chunk; `at` bytes of the attempt's text come before it.  Its own text of
                        the first choice is also part of the text.
    [at, "...", index]  a chunk like the last one of this choice, with another value of the one
                        string that grew there

Text that no line describes continues the last chunk of choice 0.  So most chunks of plain text
need no line, and neighbours become one chunk.  Fields that are the same in every chunk (`id`,
`created`, `model`) are only in the first line.

A line arrives before the text that it describes, or with it, and may be cut over several events.
"""

import codecs
import json
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Chunk = dict[str, Any]

#: For more choices than this, every chunk is a line of its own.
_MOST_SHAPES = 128
#: The longest line, in bytes.
MAX_LINE_BYTES = 32 * 1024 * 1024
#: Fields that are not the same in every chunk of a stream.
_OF_ONE_CHUNK = ("choices", "usage")


class BadChunk(ValueError):
    """This is no chunk of a completion, or no line of one."""


@dataclass(slots=True)
class _Shape:
    """A chunk in which one string grows: `holder[key]` of the choice `index`.

    is_text: that string is also the text of the job.
    """

    chunk: Chunk
    index: int
    holder: dict[str, Any]
    key: str
    is_text: bool

    def with_piece(self, piece: str) -> Chunk:
        """Return a copy of the chunk with another string."""
        self.holder[self.key] = piece
        copy: Chunk = json.loads(json.dumps(self.chunk))
        return copy


class ChunkWriter:
    """Turns the chunks of one stream into text and lines."""

    def __init__(self) -> None:
        self._at = 0
        self._head: Chunk | None = None
        self._shapes: dict[int, _Shape] = {}

    def add(self, chunk: Chunk) -> tuple[bytes, bytes]:
        """Return what a chunk adds to the text, and its line, b"" for none; raises BadChunk.

        The writer keeps the chunk: do not change it afterwards.
        """
        at, text = self._at, text_of(chunk)
        self._at += len(text)
        head = _head_of(chunk)
        short = chunk
        if self._head is None:
            self._head = head
        elif head == self._head:
            short = {name: chunk[name] for name in _OF_ONE_CHUNK if name in chunk}
        shape = _shape_of(short)
        if shape is None:
            return text, _line(at, short)
        known, piece = self._shapes.get(shape.index), shape.holder[shape.key]
        if known is not None and known.key == shape.key:
            known.holder[known.key] = piece
            # The first chunk of the stream is remembered with its head.
            if known.chunk in (short, chunk):
                return text, b"" if known.is_text else _line(at, piece, shape.index)
        line = _line(at, short)
        _remember(self._shapes, shape)
        return text, line


class ChunkReader:
    """Turns the text and the lines of one attempt's events back into chunks.

    Text before the first chunk is given as text: this engine sends no chunks.
    """

    def __init__(self) -> None:
        self._at = 0
        self._own = 0
        self._rest = b""
        self._lines: deque[list[Any]] = deque()
        self._head: Chunk | None = None
        self._shapes: dict[int, _Shape] = {}
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def read(self, text: bytes, lines: bytes) -> Iterator[Chunk | str]:
        """Yield the chunks of one event, and text without a chunk; raises BadChunk."""
        self._take(lines)
        while True:
            # A chunk that came as a line is followed by its own text.
            skipped = min(self._own, len(text))
            text, self._own = text[skipped:], self._own - skipped
            if self._lines and self._lines[0][0] <= self._at and not self._own:
                yield self._chunk_of(self._lines.popleft())
                continue
            if not text:
                return
            until = self._lines[0][0] - self._at if self._lines else len(text)
            piece, text = text[:until], text[until:]
            self._at += len(piece)
            shape = self._shapes.get(0)
            if grown := self._decoder.decode(piece):
                yield shape.with_piece(grown) if shape and shape.is_text else grown

    def _take(self, lines: bytes) -> None:
        if not lines:
            return
        *whole, self._rest = (self._rest + lines).split(b"\n")
        if len(self._rest) > MAX_LINE_BYTES:
            raise BadChunk(f"expected a line of at most {MAX_LINE_BYTES} bytes")
        for line in whole:
            try:
                read = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise BadChunk(f"expected a line of JSON: {error}") from error
            if not (isinstance(read, list) and read and isinstance(read[0], int)):
                raise BadChunk("expected a line of a chunk, got other JSON")
            self._lines.append(read)

    def _chunk_of(self, line: list[Any]) -> Chunk:
        match line:
            case [int(), dict() as chunk]:
                self._own = len(text_of(chunk))
                self._at += self._own
                if self._head is None:
                    self._head = _head_of(chunk)
                elif not _head_of(chunk):
                    chunk = {**self._head, **chunk}
                shape = _shape_of(chunk)
                if shape is None:
                    return chunk
                _remember(self._shapes, shape)
                return shape.with_piece(shape.holder[shape.key])
            case [int(), str() as piece, int() as index] if index in self._shapes:
                return self._shapes[index].with_piece(piece)
            case _:
                raise BadChunk("expected a line of a chunk, got other JSON")


def text_of(chunk: Chunk) -> bytes:
    """Return the text of the first choice in a chunk; raises BadChunk for what is no chunk."""
    text = ""
    for choice in choices_of(chunk):
        if index_of(choice) == 0:
            text += _text_of(delta_of(choice).get("content") or choice.get("text") or "")
    return text.encode(errors="replace")


def _text_of(content: Any) -> str:
    # Some servers stream a list of parts; only those that have a text belong to the text.
    if isinstance(content, list) and all(isinstance(part, dict) for part in content):
        texts = [part.get("text") for part in content]
        return "".join(text for text in texts if isinstance(text, str))
    if not isinstance(content, str):
        raise BadChunk(f"expected a text, got {str(content)[:40]}")
    return content


def choices_of(chunk: Chunk) -> list[dict[str, Any]]:
    """Return the choices of a chunk; raises BadChunk."""
    choices = chunk.get("choices") or []
    if not isinstance(choices, list) or not all(isinstance(one, dict) for one in choices):
        raise BadChunk("expected a list of choices")
    return choices


def index_of(choice: dict[str, Any]) -> int:
    """Return the index of a choice, 0 if it has none; raises BadChunk."""
    index = choice.get("index") or 0
    if not isinstance(index, int) or index < 0:
        raise BadChunk(f"expected the index of a choice, got {str(index)[:40]}")
    return index


def delta_of(choice: dict[str, Any]) -> dict[str, Any]:
    """Return the delta of a choice, empty if it has none; raises BadChunk."""
    delta = choice.get("delta") or {}
    if not isinstance(delta, dict):
        raise BadChunk(f"expected a delta, got {str(delta)[:40]}")
    return delta


def _shape_of(chunk: Chunk) -> _Shape | None:
    """Return where the chunk's one growing string is; None if another field may grow too."""
    choices = choices_of(chunk)
    if len(choices) != 1 or chunk.get("usage"):
        return None
    choice, index = choices[0], index_of(choices[0])
    match [name for name in choice if choice[name] is not None and name != "index"]:
        case ["text"] if isinstance(choice["text"], str):
            return _Shape(chunk, index, choice, "text", is_text=index == 0)
        case ["delta"]:
            return _shape_of_delta(chunk, index, delta_of(choice))
        case _:
            return None


def _shape_of_delta(chunk: Chunk, index: int, delta: dict[str, Any]) -> _Shape | None:
    names = [name for name in delta if delta[name] is not None and name != "role"]
    if len(names) != 1:
        return None
    name = names[0]
    match delta[name]:
        case str():
            return _Shape(chunk, index, delta, name, is_text=index == 0 and name == "content")
        case [{"function": {"arguments": str()} as function}] if name == "tool_calls":
            return _Shape(chunk, index, function, "arguments", is_text=False)
        case _:
            return None


def _remember(shapes: dict[int, _Shape], shape: _Shape) -> None:
    """Note the shape of a choice's newest chunk; the writer and the reader do the same."""
    if shape.index in shapes or len(shapes) < _MOST_SHAPES:
        shapes[shape.index] = shape


def _head_of(chunk: Chunk) -> Chunk:
    return {name: chunk[name] for name in chunk if name not in _OF_ONE_CHUNK}


def _line(*parts: object) -> bytes:
    # ASCII: servers send halves of surrogate pairs, which UTF-8 cannot encode.
    return json.dumps(parts, separators=(",", ":")).encode() + b"\n"
