"""Long walks over what is stored, cut into slices, so that nobody else waits for one.

Redis does one thing at a time.  A walk over a whole queue therefore takes a small slice of it in
each call, and this process sends one slice at a time for all walks: twenty walks take twenty
times as long, and a put beside them is as quick as beside one.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

#: The longest pause after a slice, in seconds.
MOST_PAUSE_S = 0.05


class Slices:
    """Whose turn it is to send a slice: among the walks of one service, then among services."""

    def __init__(self) -> None:
        self._of_all = asyncio.Lock()
        self._of_service: dict[str, asyncio.Lock] = {}

    @contextlib.asynccontextmanager
    async def turn(self, service: str) -> AsyncIterator[None]:
        """Send one slice in the block; afterwards Redis is left to others for as long as it took.

        The locks are first come, first served, so walks of one service take turns.
        """
        # One small lock for each service that ever walked; there are few.
        async with self._of_service.setdefault(service, asyncio.Lock()), self._of_all:
            began = time.monotonic()
            try:
                yield
            finally:
                await asyncio.sleep(min(MOST_PAUSE_S, time.monotonic() - began))
