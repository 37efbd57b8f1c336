"""What a worker's connection holds of the process's budget: messages that are not stored yet.

The library collects a whole message, of up to 16 MiB, before it passes it on.  So bytes count as
they arrive, until their message is complete, and the message counts until its answers are stored.
"""

import asyncio
from collections.abc import Callable

from queue_service.errors import BuffersFull, TooMuchAtOnce
from queue_service.web.budget import Held

#: Less than this of an incomplete message is not counted: every connection has such a buffer.
COUNTED_BYTES = 64 * 1024


class Intake:
    """The bytes of one connection.

    refuse: closes the connection, because there is no space.
    message_timeout_s: how long a message may take once it has begun; a slow one would otherwise
        hold its bytes for ever.
    """

    def __init__(
        self,
        held: Held,
        refuse: Callable[[TooMuchAtOnce | BuffersFull | None], None],
        *,
        message_timeout_s: float,
    ) -> None:
        self._held = held
        self._refuse = refuse
        self._message_timeout_s = message_timeout_s
        self._unfinished_bytes = 0
        self._stored_later_bytes = 0
        self._limit: asyncio.TimerHandle | None = None

    def arrive(self, size: int) -> None:
        """Count bytes that have arrived, of a message that is not complete."""
        self._unfinished_bytes += size
        if self._unfinished_bytes < COUNTED_BYTES:
            return
        if self._limit is None:
            loop = asyncio.get_running_loop()
            self._limit = loop.call_later(self._message_timeout_s, self._refuse, None)
        self._count(or_refuse=True)

    def complete(self) -> None:
        """Note that a message is complete; what arrived after it is less than one packet."""
        if self._unfinished_bytes < COUNTED_BYTES:
            self._unfinished_bytes = 0
            return
        self._unfinished_bytes = 0
        self._stop_clock()
        self._count()

    def store(self, size: int) -> None:
        """Count a message that is being stored."""
        self._stored_later_bytes += size
        self._count()

    def stored(self, size: int) -> None:
        """Release a message that is stored."""
        self._stored_later_bytes -= size
        self._count()

    def close(self) -> None:
        """Release everything: the connection has ended."""
        self._stop_clock()
        self._held.release()

    def _count(self, *, or_refuse: bool = False) -> None:
        unfinished = self._unfinished_bytes if self._unfinished_bytes >= COUNTED_BYTES else 0
        size = unfinished + self._stored_later_bytes
        try:
            self._held.set(size, whatever=not or_refuse)
        except (TooMuchAtOnce, BuffersFull) as error:
            self._refuse(error)

    def _stop_clock(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None
