"""Follows one request: looks at it again each time that it may have changed."""

import asyncio
import time
from collections.abc import Callable, Sequence

from queue_service.delivery.doorbell import Doorbell, wait_for_any
from queue_service.store.ticket import Seen, State

#: The least time between two looks at a request whose position is watched, in seconds.  Each put
#: and each completion of the service may change it, and may ring.
POSITION_PAUSE_S = 0.05
#: The longest time between two looks, in seconds.
LOOK_AGAIN_S = 15.0

Look = Callable[[str], "asyncio.Future[Seen]"]


class Follow:
    """Gives where a request is, each time that it may have changed: `async for seen in follow`.

    The first look comes at once.  The last one finds the request ended, or unknown.

    bell: that of the request, which also rings for each new event.
    input_bell, sink_bell: those of the queues.  A request without a ticket has no bell of its own.
    also: other bells that wake the follower, such as that of a client that disconnects.
    given_up: whether to end early; asked after each wait, before the next look.
    longest_wait_s: how long to wait for a ring now; asked before each wait.
    watches_position: whether to look again when the position in the queue may have changed.
    least_pause_s: the least time between two looks.
    """

    def __init__(
        self,
        request_id: str,
        look: Look,
        *,
        bell: Doorbell,
        input_bell: Doorbell,
        sink_bell: Doorbell,
        also: Sequence[Doorbell] = (),
        given_up: Callable[[], bool] = lambda: False,
        longest_wait_s: Callable[[], float] = lambda: LOOK_AGAIN_S,
        watches_position: bool = False,
        least_pause_s: float = 0.0,
    ) -> None:
        #: May be changed between two looks.
        self.watches_position = watches_position
        self._request_id = request_id
        self._look = look
        self._queue_bells = (input_bell, sink_bell)
        self._own_bells: tuple[Doorbell, ...] = (bell, *also)
        self._given_up = given_up
        self._longest_wait_s = longest_wait_s
        self._least_pause_s = least_pause_s
        self._seen: Seen | None = None
        self._rings: dict[Doorbell, int] = {}

    def __aiter__(self) -> "Follow":
        return self

    async def __anext__(self) -> Seen:
        if self._seen is not None:
            if self._seen.is_over:
                raise StopAsyncIteration
            await self._wait(self._seen)
            if self._given_up():
                raise StopAsyncIteration
        # Before the look, and of every bell: a ring during the look or while the caller works on
        # what it found causes another look, also if the caller only then watches the position.
        self._rings = {bell: bell.rings for bell in (*self._own_bells, *self._queue_bells)}
        self._seen = await self._look(self._request_id)
        return self._seen

    async def _wait(self, seen: Seen) -> None:
        """Wait for a ring after the last look began, or until it is time to look without one."""
        until = time.monotonic() + min(self._longest_wait_s(), LOOK_AGAIN_S)
        bells, pause_s = self._own_bells, self._least_pause_s
        if self.watches_position and (seen.state is State.QUEUED or not seen.ticket):
            bells, pause_s = (*bells, *self._queue_bells), max(pause_s, POSITION_PAUSE_S)
        elif not seen.ticket:
            # Only the sink's bell announces its end.
            bells = (*bells, self._queue_bells[1])
        if pause_s:
            await asyncio.sleep(pause_s)
        rings = [self._rings[bell] for bell in bells]
        await wait_for_any(bells, rings, timeout_s=max(0.0, until - time.monotonic()))
