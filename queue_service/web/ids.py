"""Request ids: random UUIDs, made many at a time."""

import os
import uuid
from collections.abc import Iterator

_AT_ONCE = 256


def request_ids() -> Iterator[str]:
    """Yield random UUIDs (version 4) without end.

    Asking the kernel for randomness once per put was a twentieth of a put's whole cost.
    """
    while True:
        noise = os.urandom(16 * _AT_ONCE)
        for start in range(0, len(noise), 16):
            yield str(uuid.UUID(bytes=noise[start : start + 16], version=4))
