"""Leases: renewed for the subscribers that are heard of, ended for those that are not.

Each lease is one subscriber's, and is renewed by the process that holds its connection, up to
one lease after the last sign of life.  Any process ends the leases that are over, so nothing
hangs on a lock or on one process; ending one twice changes nothing.
"""

import asyncio
import logging

from queue_service.delivery.dispatcher import STORE_PAUSE_S, Dispatcher
from queue_service.delivery.doorbell import Doorbell
from queue_service.delivery.followers import Followers
from queue_service.delivery.subscriber import Ended
from queue_service.errors import StoreError, StoreUnavailable
from queue_service.process.metrics import QueueMetrics
from queue_service.store.entry import Expired, Renewal
from queue_service.store.owners import plain_name
from queue_service.store.store import Store

log = logging.getLogger(__name__)

#: Leases renewed in one call of the store.
RENEW_STEP = 500


class Redelivery:
    """Keeps and ends the leases of one queue."""

    def __init__(
        self,
        store: Store,
        dispatcher: Dispatcher,
        metrics: QueueMetrics,
        *,
        lease_ms: int,
        tick_ms: int,
        followers: Followers | None = None,
    ) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._metrics = metrics
        self._lease_ms = lease_ms
        # The store takes a longer gap for an outage, after which no lease may end (expire.lua).
        self._tick_s = min(tick_ms, lease_ms / 3) / 1000
        self._look = Doorbell()
        self._changed = Doorbell()
        self._followers = followers

    def look_in(self, delay_s: float) -> None:
        """End what is over after this delay: a lease was just cut short."""
        asyncio.get_running_loop().call_later(delay_s, self._look.ring)

    def rules_changed(self) -> None:
        """Look at deadlines by the new `max_idle`, which may be the first one."""
        self._changed.ring()

    async def run(self) -> None:
        """Renew and expire for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._ping_for_ever())
            group.create_task(self._renew_for_ever())
            group.create_task(self._expire_for_ever())
            group.create_task(self._take_overdue_for_ever())

    async def _ping_for_ever(self) -> None:
        # Beside the renewals, so that nobody seems silent because the store was.
        while True:
            await asyncio.sleep(self._lease_ms / 3000)
            for subscriber in self._dispatcher:
                silent = subscriber.silence_s() * 1000 >= self._lease_ms / 3
                if silent or subscriber.own_commits:
                    # A worker counts on hearing from us too, even when it has just spoken.
                    subscriber.ping()

    async def _renew_for_ever(self) -> None:
        pause_s = self._lease_ms / 3000
        while True:
            await asyncio.sleep(pause_s)
            pause_s = self._lease_ms / 3000
            try:
                await self._renew()
            except StoreUnavailable as error:
                # Time is short: a failover may have taken most of the leases, and not enough of
                # it to count as an outage.
                pause_s = min(pause_s, STORE_PAUSE_S)
                log.debug("Leases were not renewed: %s", error)
            except StoreError:
                log.exception("Leases were not renewed.")

    async def _renew(self) -> None:
        subscribers = list(self._dispatcher)
        for start in range(0, len(subscribers), RENEW_STEP):
            step, renewals = [], []
            for subscriber in subscribers[start : start + RENEW_STEP]:
                silence_ms = int(subscriber.silence_s() * 1000)
                # A silent one's lease still ends where its last sign of life put it.
                step.append(subscriber)
                renewals.append(
                    Renewal(
                        subscriber.gid,
                        subscriber.uid,
                        subscriber.session,
                        self._lease_ms - silence_ms,
                        about=subscriber.take_news(),
                    )
                )
            if not renewals:
                continue
            for position, taken_over in await self._store.renew(renewals):
                reason = Ended.TAKEN_OVER if taken_over else Ended.LEASE_LOST
                self._dispatcher.end(step[position], reason)

    async def _expire_for_ever(self) -> None:
        # The first look is taken at once: it tells what ended while nobody was here.
        seen, wait_s, looked_before = 0, 0.0, False
        while True:
            seen = await self._look.wait(seen, timeout_s=wait_s)
            wait_s = self._tick_s
            try:
                expired = await self._store.expire(self._lease_ms, looked_before=looked_before)
            except StoreUnavailable as error:
                log.debug("Leases were not looked at: %s", error)
                continue
            except StoreError:
                log.exception("Leases were not looked at.")
                continue
            looked_before = True
            if expired.subscribers:
                log.info(
                    "%d leases ended; %d deliveries go out again.",
                    expired.subscribers,
                    expired.released,
                )
                self._metrics.releases.inc(expired.released)
            if expired.wait_ms >= 0:
                # A millisecond more, so that the lease is over when we look.
                wait_s = min(self._tick_s, (expired.wait_ms + 1) / 1000)
            if self._followers is not None:
                self._tell(self._followers, expired)

    def _tell(self, followers: Followers, seen: Expired) -> None:
        if seen.stops:
            followers.stops.ring()
        if 0 <= seen.due_ms <= self._tick_s * 1000:
            asyncio.get_running_loop().call_later((seen.due_ms + 1) / 1000, followers.due.ring)

    async def _take_overdue_for_ever(self) -> None:
        # What is handed out from now on is due after `max_idle`, so nothing is missed meanwhile.
        seen, wait_s = 0, 0.0
        while True:
            # While `max_idle` is off, only a change of the rules wakes this.
            timeout_s = wait_s if self._store.rules.max_idle_ms else None
            seen = await self._changed.wait(seen, timeout_s=timeout_s)
            max_idle_ms = self._store.rules.max_idle_ms
            if not max_idle_ms:
                continue
            wait_s = longest_s = min(self._tick_s, max_idle_ms / 1000)
            try:
                wait_ms = await self._take_overdue()
            except StoreUnavailable as error:
                log.debug("Deadlines were not looked at: %s", error)
                continue
            except StoreError:
                log.exception("Deadlines were not looked at.")
                continue
            if wait_ms >= 0:
                wait_s = min(longest_s, (wait_ms + 1) / 1000)

    async def _take_overdue(self) -> int:
        here = {(one.gid, one.uid): one for one in self._dispatcher}
        wait_ms, taken = await self._store.overdue(
            [(one.gid, one.uid, one.session) for one in here.values()]
        )
        for gid, uid, index, attempt in taken:
            log.info(
                "Delivery %d of entry %d was held for too long by %s.",
                attempt,
                index,
                plain_name(uid),
            )
            subscriber = here[gid, uid]
            subscriber.take_away(index, attempt)
            self._dispatcher.window_changed(subscriber)
        self._metrics.overdue.inc(len(taken))
        return wait_ms
