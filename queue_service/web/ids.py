"""Request ids: random UUIDs, made many at a time."""

import os

_AT_ONCE = 256
#: Hexadecimal digits of one id.
_DIGITS = 32


class RequestIds:
    """Gives random UUIDs (version 4), one after the other, to one event loop.

    Asking the kernel for randomness once per put, and making an object of it, was a tenth of
    a put's whole cost.
    """

    def __init__(self) -> None:
        self._noise = ""
        self._next = 0

    def next(self) -> str:
        """Return one that nobody has had."""
        if self._next == len(self._noise):
            self._noise, self._next = os.urandom(_DIGITS // 2 * _AT_ONCE).hex(), 0
        digits = self._noise[self._next : self._next + _DIGITS]
        self._next += _DIGITS
        # Version 4, variant 1, as RFC 9562 lays them out.
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"
