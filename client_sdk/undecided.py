"""Greetings that got no answer, and may still take effect when nobody waits for them any more."""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from client_sdk import errors

#: For how long a greeting may be on its way, in seconds: what a network held back comes late.
LATE_S = 60.0
MOST = 32


class Undecided:
    """Those of one worker's connections.

    A queue process that lost touch with its store cannot say whether the store has heard of the
    worker.  The worker goes to another process; when the first one's request arrives in the
    store after all, it takes the place of the newer connection.  That is nobody else's doing.
    """

    def __init__(self) -> None:
        self._since_s: deque[float] = deque(maxlen=MOST)

    @contextmanager
    def unless_welcomed(self) -> Iterator[None]:
        """Greet inside of the block, which ends with a transient error when no answer came."""
        try:
            yield
        except errors.QueueError as error:
            if error.transient:
                self._since_s.append(asyncio.get_running_loop().time())
            raise

    def explains(self, error: errors.QueueError) -> bool:
        """Say whether a takeover was our own; each greeting explains only one."""
        if not isinstance(error, errors.TakenOver):
            return False
        late = asyncio.get_running_loop().time() - LATE_S
        while self._since_s and self._since_s[0] < late:
            self._since_s.popleft()
        if not self._since_s:
            return False
        self._since_s.popleft()
        return True
