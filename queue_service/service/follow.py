"""Follows one request: looks at it again each time that it may have changed."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from queue_service.delivery.doorbell import Doorbell, wait_for_any
from queue_service.store.ticket import Seen, State

#: The least time between two looks at a request whose position is watched, in seconds.  Each put
#: and each completion of the service may change it, and may ring.
POSITION_PAUSE_S = 0.05
#: All that watch a position look at most this often together, in each second: the more they are,
#: the longer each pauses.
MOST_LOOKS_PER_S = 200.0

Look = Callable[[str], "asyncio.Future[Seen]"]


class Crowd:
    """Everybody who watches a position of one service, in one process."""

    def __init__(self) -> None:
        self._size = 0

    @contextmanager
    def joined(self) -> Iterator[float]:
        """Belong to it in the block; give the seconds to pause between two looks."""
        self._size += 1
        try:
            yield max(POSITION_PAUSE_S, self._size / MOST_LOOKS_PER_S)
        finally:
            self._size -= 1


class Follow:
    """Gives where a request is, each time that it may have changed: `async for seen in follow`.

    The first look comes at once, unless `begin_with` says that it is not needed.  The last one
    finds the request ended, or unknown.

    bell: that of the request, which also rings for each new event, or that of its end alone.
    input_bell, sink_bell: those of the queues.  A request without a ticket has no bell of its own.
    also: other bells that wake the follower, such as that of a client that disconnects.
    given_up: whether to end early; asked before and after each wait, before the next look.
    longest_wait_s: how long to wait for a ring now; asked before each wait.
    looks_in_silence: whether to look when no bell has rung for that time, or give what was seen.
    watches_position: whether to look again when the position in the queue may have changed.
    crowd: all that do so.
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
        crowd: Crowd,
        longest_wait_s: Callable[[], float],
        also: Sequence[Doorbell] = (),
        given_up: Callable[[], bool] = lambda: False,
        looks_in_silence: bool = True,
        watches_position: bool = False,
        least_pause_s: float = 0.0,
    ) -> None:
        #: May be changed between two looks.
        self.watches_position = watches_position
        self._request_id = request_id
        self._look = look
        self._queue_bells = (input_bell, sink_bell)
        self._own_bells: tuple[Doorbell, ...] = (bell, *also)
        self._crowd = crowd
        self._given_up = given_up
        self._longest_wait_s = longest_wait_s
        self._looks_in_silence = looks_in_silence
        self._least_pause_s = least_pause_s
        self._seen: Seen | None = None
        self._has_begun = False
        self._rings: dict[Doorbell, int] = {}
        self._note_rings()

    def begin_with(self, seen: Seen | None) -> None:
        """Wait first: the request was seen so, or was put, after this object was made."""
        self._seen = seen
        self._has_begun = True

    def __aiter__(self) -> "Follow":
        return self

    async def __anext__(self) -> Seen:
        if self._has_begun:
            seen = self._seen
            if seen is not None and seen.is_over:
                raise StopAsyncIteration
            # The client may have left, or closed its sending side, before its bell was made.
            if not self._given_up():
                await self._wait(seen)
            if self._given_up():
                raise StopAsyncIteration
            if seen is not None and not self._looks_in_silence and not self._has_rung():
                return seen
        self._has_begun = True
        self._note_rings()
        self._seen = await self._look(self._request_id)
        return self._seen

    def _note_rings(self) -> None:
        """Before a look, and of every bell.

        A ring during the look or while the caller works on what it found causes another look, also
        if the caller only then watches the position.
        """
        self._rings = {bell: bell.rings for bell in (*self._own_bells, *self._queue_bells)}

    def _has_rung(self) -> bool:
        return any(bell.rings > rings for bell, rings in self._rings.items())

    async def _wait(self, seen: Seen | None) -> None:
        """Wait for a ring after the last look began, or until it is time to look without one.

        seen: None for a request that was put by the caller, so it has a ticket.
        """
        until = time.monotonic() + self._longest_wait_s()
        if self._least_pause_s:
            await asyncio.sleep(self._least_pause_s)
        has_ticket = seen is None or bool(seen.ticket)
        is_queued = seen is None or seen.state is State.QUEUED
        if self.watches_position and (is_queued or not has_ticket):
            with self._crowd.joined() as pause_s:
                pause_until = min(until, time.monotonic() + pause_s - self._least_pause_s)
                if not await self._wait_for(self._own_bells, pause_until):
                    await self._wait_for((*self._own_bells, *self._queue_bells), until)
        elif not has_ticket:
            # Only the sink's bell announces its end.
            await self._wait_for((*self._own_bells, self._queue_bells[1]), until)
        else:
            await self._wait_for(self._own_bells, until)

    async def _wait_for(self, bells: Sequence[Doorbell], until: float) -> bool:
        """Wait until one of the bells has rung since the last look began; False at the time."""
        rings = [self._rings[bell] for bell in bells]
        await wait_for_any(bells, rings, timeout_s=max(0.0, until - time.monotonic()))
        return any(bell.rings > known for bell, known in zip(bells, rings, strict=True))
