"""Splits a body into lines as it arrives, without keeping a line that is too long."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TooLong:
    """A line above the limit; nothing of it was kept."""

    size: int


class LineCutter:
    """Splits pieces into lines.  limit_bytes: the longest line that is kept."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        # One buffer: a list of one-byte pieces would take forty times their size.
        self._kept = bytearray()
        self._size = 0

    @property
    def kept_bytes(self) -> int:
        """How much of an incomplete line is kept."""
        return len(self._kept)

    def cut(self, piece: bytes) -> list[bytes | TooLong]:
        """Return the lines that this piece completes, without empty ones."""
        *ended, rest = piece.split(b"\n")
        lines: list[bytes | TooLong] = []
        for part in ended:
            self._keep(part)
            lines += self.last()
        self._keep(rest)
        return lines

    def last(self) -> list[bytes | TooLong]:
        """Return the line that is still incomplete, unless it is empty."""
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
