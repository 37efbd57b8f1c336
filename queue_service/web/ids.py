"""Request ids: random UUIDs, made in batches."""

import os

_AT_ONCE = 256
#: Hexadecimal digits of one id.
_DIGITS = 32


class RequestIds:
    """Makes random UUIDs (version 4) for one event loop.

    Reading randomness from the kernel for each put, and building a UUID object, took a tenth of the
    put.
    """

    def __init__(self) -> None:
        self._noise = ""
        self._next = 0

    def next(self) -> str:
        """Return a new id."""
        if self._next == len(self._noise):
            self._noise, self._next = os.urandom(_DIGITS // 2 * _AT_ONCE).hex(), 0
        digits = self._noise[self._next : self._next + _DIGITS]
        self._next += _DIGITS
        # Version 4, variant 1, laid out as in RFC 9562.
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"
