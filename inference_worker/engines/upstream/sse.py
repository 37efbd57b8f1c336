"""Parses server-sent events, or lines, from pieces of any size.  Pure."""

import re
from collections.abc import Iterator

#: A line ends with CR LF, with LF, or with a CR without LF.
_LINE_END = re.compile(rb"\r\n|\n|\r")

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

#: The longest line, in bytes; a longer one is no stream of text.
MAX_LINE_BYTES = 16 * 1024 * 1024


class LineTooLong(ValueError):
    """A line is too long."""


class EventReader:
    """Returns the data of every event; ids, names and comments are ignored."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._at_start = True

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Yield the data of each event that this piece completes; raises LineTooLong."""
        # The bytes before the last one were searched before and have no line end.
        searched = max(0, len(self._rest) - 1)
        self._rest += piece
        if self._at_start and len(self._rest) >= len(_BYTE_ORDER_MARK):
            self._rest = self._rest.removeprefix(_BYTE_ORDER_MARK)
            self._at_start = False
            searched = 0
        start = 0
        for end in _LINE_END.finditer(self._rest, searched):
            if end.group() == b"\r" and end.end() == len(self._rest):
                # The LF of a CR LF may be in the next piece.
                break
            line, start = self._rest[start : end.start()], end.end()
            if not line:
                yield from self._take()
            else:
                self._read(line)
        self._rest = self._rest[start:]
        if len(self._rest) > MAX_LINE_BYTES:
            raise LineTooLong(f"expected a line of at most {MAX_LINE_BYTES} bytes")

    def end(self) -> Iterator[bytes]:
        """Yield the data of a last event without an empty line after it.

        The standard drops such an event.  But servers that forget the last empty line are more
        common than responses that break off exactly after a line.
        """
        if self._rest:
            self._read(self._rest.removesuffix(b"\r"))
            self._rest = b""
        yield from self._take()

    def _read(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        if name == b"data":
            self._data.append(value.removeprefix(b" "))

    def _take(self) -> Iterator[bytes]:
        if self._data:
            yield b"\n".join(self._data)
            self._data = []


class LineReader:
    """Returns every line that is not empty, as NDJSON has one object in each."""

    def __init__(self) -> None:
        self._rest: list[bytes] = []
        self._size = 0

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Yield each line that this piece completes; raises LineTooLong."""
        *lines, rest = piece.split(b"\n")
        for line in lines:
            whole = b"".join([*self._rest, line]).strip()
            self._rest, self._size = [], 0
            if whole:
                yield whole
        self._rest.append(rest)
        self._size += len(rest)
        if self._size > MAX_LINE_BYTES:
            raise LineTooLong(f"expected a line of at most {MAX_LINE_BYTES} bytes")

    def end(self) -> Iterator[bytes]:
        """Yield a last line without an end."""
        whole, self._rest = b"".join(self._rest).strip(), []
        if whole:
            yield whole
