"""Cutting a body into lines as it arrives, without keeping one that is too long."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TooLong:
    """A line above the limit, of which nothing was kept."""

    size: int


class LineCutter:
    """Cuts pieces into lines.  limit_bytes: the longest line that is kept."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        # One buffer: of a client that sends byte by byte the pieces take forty times their size.
        self._kept = bytearray()
        self._size = 0

    @property
    def kept_bytes(self) -> int:
        """How much of a line without an end is kept."""
        return len(self._kept)

    def cut(self, piece: bytes) -> list[bytes | TooLong]:
        """Give the lines that this piece completes, without the empty ones."""
        *ended, rest = piece.split(b"\n")
        lines: list[bytes | TooLong] = []
        for part in ended:
            self._keep(part)
            lines += self.last()
        self._keep(rest)
        return lines

    def last(self) -> list[bytes | TooLong]:
        """Give the line that has no end yet, unless it is empty."""
        line, size = bytes(self._kept), self._size
        self._kept.clear()
        self._size = 0
        if size > self._limit_bytes:
            return [TooLong(size)]
        return [line] if line.strip() else []

    def _keep(self, part: bytes) -> None:
        self._size += len(part)
        if self._size > self._limit_bytes:
            self._kept.clear()
        else:
            self._kept += part
