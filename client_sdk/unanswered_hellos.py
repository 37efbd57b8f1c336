"""Hello messages without a Welcome, which may still take effect after the worker gave up on them.

A replica that loses its store cannot say whether the store has registered the worker, so the worker
connects to another replica.  If the first registration reaches the store after all, it takes over
the worker's newer connection.  That takeover is the worker's own, so the worker connects again.
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from client_sdk import errors

#: How late a Hello may still take effect, in seconds: the network may hold a packet that long.
LATE_S = 60.0
MAX_REMEMBERED = 32


class UnansweredHellos:
    """The recent unanswered Hello messages of one worker."""

    def __init__(self) -> None:
        self._since_s: deque[float] = deque(maxlen=MAX_REMEMBERED)

    @contextmanager
    def expect_welcome(self) -> Iterator[None]:
        """Wrap a handshake: remember it if it ends with a transient error."""
        try:
            yield
        except errors.QueueError as error:
            if error.transient:
                self._since_s.append(asyncio.get_running_loop().time())
            raise

    def explains(self, error: errors.QueueError) -> bool:
        """Return whether this takeover was the worker's own; each Hello explains only one."""
        if not isinstance(error, errors.TakenOver):
            return False
        late = asyncio.get_running_loop().time() - LATE_S
        while self._since_s and self._since_s[0] < late:
            self._since_s.popleft()
        if not self._since_s:
            return False
        self._since_s.popleft()
        return True
