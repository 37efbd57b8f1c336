"""Server-sent events, read from pieces of any size.  Pure."""

import re
from collections.abc import Iterator

#: A line ends with CR LF, with LF, or with a CR that nothing of the same line end can follow.
_LINE_END = re.compile(rb"\r\n|\n|\r")

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

#: The longest line, in bytes.  What is longer is no text that somebody reads as it comes.
MAX_LINE_BYTES = 16 * 1024 * 1024


class LineTooLong(ValueError):
    """A line does not end."""


class EventReader:
    """Gives the data of every event; ids, names and comments are passed over."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._at_start = True

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Yield the data of each event that this piece has completed; raises LineTooLong."""
        # All before the last byte is known to hold no end of a line.
        searched = max(0, len(self._rest) - 1)
        self._rest += piece
        if self._at_start and len(self._rest) >= len(_BYTE_ORDER_MARK):
            self._rest = self._rest.removeprefix(_BYTE_ORDER_MARK)
            self._at_start = False
            searched = 0
        start = 0
        for end in _LINE_END.finditer(self._rest, searched):
            if end.group() == b"\r" and end.end() == len(self._rest):
                # Its LF may still be on the way.
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
        """Yield the data of an event that no empty line has ended before the body did.

        The standard drops it; servers that forget the last empty line are more common than bodies
        that break off exactly behind a line.
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
