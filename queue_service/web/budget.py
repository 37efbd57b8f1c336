"""How many bytes of requests this process holds at once, and how tokens share them.

Bytes count after decompression, from when they are read until the request is stored or answered.
Other limits are for one body; this one is for all bodies together:

* One token may hold as much as is left free.  So one token alone gets half, two get a third each,
  and there is always space for another one.
* A process that holds nothing takes a body of any size that its queue takes.
"""

from collections.abc import Callable

from queue_service.errors import BuffersFull, TooMuchAtOnce

#: Bodies up to this size are not counted: they arrive with the head, in the buffer that every
#: connection has anyway.
SMALL_BYTES = 16 * 1024
#: When a refused client is asked to try again, in seconds.
RETRY_AFTER_S = 1.0


class Budget:
    """The bytes of one process.

    total_bytes: how many it may hold.  on_change: called with the number that it holds.
    """

    def __init__(self, total_bytes: int, on_change: Callable[[int], None] = lambda _: None) -> None:
        self.total_bytes = total_bytes
        self._on_change = on_change
        self.used_bytes = 0
        self._by_holder: dict[str, int] = {}

    def hold(self, holder: str) -> "Held":
        """Begin to hold bytes for a request.  holder: the token or service that sent it."""
        return Held(self, holder)

    def has_room(self, holder: str, more: int) -> bool:
        """Say whether this holder would then have no more than is left free."""
        own = self._by_holder.get(holder, 0) + more
        return own <= self.total_bytes - self.used_bytes - more

    def take(self, holder: str, more: int) -> None:
        """Hold more bytes, or fewer when negative, even above the limit."""
        self.used_bytes += more
        own = self._by_holder.get(holder, 0) + more
        if own > 0:
            self._by_holder[holder] = own
        else:
            self._by_holder.pop(holder, None)
        self._on_change(self.used_bytes)

    def refusal(self, holder: str) -> TooMuchAtOnce | BuffersFull:
        """Return why there is no space: this holder has its share, or all holders have it all."""
        own = self._by_holder.get(holder, 0)
        fair = self.total_bytes // (len(self._by_holder) + 1)
        if own * 2 >= fair:
            return TooMuchAtOnce(fair, own, RETRY_AFTER_S)
        return BuffersFull(self.total_bytes)


class Held:
    """The bytes that one request holds."""

    __slots__ = ("_budget", "_bytes", "_holder")

    def __init__(self, budget: Budget, holder: str) -> None:
        self._budget = budget
        self._holder = holder
        self._bytes = 0

    def set(self, size: int, *, whatever: bool = False) -> None:
        """Hold this many bytes from now on.

        Raises TooMuchAtOnce or BuffersFull when that is too much, unless `whatever`: bytes that
        have arrived already must count, or others would get their space.
        """
        more = size - self._bytes
        # A request that is alone may always grow, or the largest body could never arrive.
        alone = self._budget.used_bytes == self._bytes
        if (
            more > 0
            and not whatever
            and not alone
            and not self._budget.has_room(self._holder, more)
        ):
            raise self._budget.refusal(self._holder)
        self._budget.take(self._holder, more)
        self._bytes = size

    def release(self) -> None:
        """Release all bytes; releasing them twice changes nothing."""
        if self._bytes:
            self._budget.take(self._holder, -self._bytes)
            self._bytes = 0
