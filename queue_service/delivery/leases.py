"""Leases: renewed for subscribers that show signs of life, ended for those that do not.

The process that has a subscriber's connection renews its lease, up to one lease after the last
sign of life.  Any process ends the leases that are over.  So nothing depends on a lock or on one
process; ending a lease twice changes nothing.
"""

import asyncio
import logging

from queue_service.delivery.dispatcher import STORE_PAUSE_S, Dispatcher
from queue_service.delivery.doorbell import Doorbell
from queue_service.delivery.subscriber import Ended
from queue_service.delivery.ticket_bells import TicketBells
from queue_service.errors import StoreError, StoreUnavailable
from queue_service.process.metrics import QueueMetrics
from queue_service.store.entry import Renewal
from queue_service.store.owners import plain_name
from queue_service.store.store import Store

log = logging.getLogger(__name__)

#: Leases renewed in one call of the store.
RENEW_STEP = 500


class Leases:
    """Renews and ends the leases of one queue, and ends deliveries that were held for too long.

    ticket_bells: those of the service; only its input queue has them.
    """

    def __init__(
        self,
        store: Store,
        dispatcher: Dispatcher,
        metrics: QueueMetrics,
        *,
        lease_ms: int,
        tick_ms: int,
        ticket_bells: TicketBells | None = None,
    ) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._metrics = metrics
        self._lease_ms = lease_ms
        # After a longer gap between two looks the store assumes an outage, and ends no lease
        # (expire.lua).
        self._tick_s = min(tick_ms, lease_ms / 3) / 1000
        self._look = Doorbell()
        self._changed = Doorbell()
        self._ticket_bells = ticket_bells

    def look_in(self, delay_s: float) -> None:
        """Look at the leases after this delay: one was just shortened."""
        asyncio.get_running_loop().call_later(delay_s, self._look.ring)

    def rules_changed(self) -> None:
        """Look at the deliveries with the new `max_idle`, which may be the first one."""
        self._changed.ring()

    async def run(self) -> None:
        """Renew and end leases until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_pinging())
            group.create_task(self._keep_renewing())
            group.create_task(self._keep_expiring())
            group.create_task(self._keep_taking_overdue())

    async def _keep_pinging(self) -> None:
        # In its own task: subscribers would seem silent if they were not asked while the store is
        # away.
        while True:
            await asyncio.sleep(self._lease_ms / 3000)
            for subscriber in self._dispatcher:
                silent = subscriber.silence_s() * 1000 >= self._lease_ms / 3
                if silent or subscriber.own_commits:
                    # A worker expects signs of life from us too, even if it has just sent one.
                    subscriber.ping()

    async def _keep_renewing(self) -> None:
        pause_s = self._lease_ms / 3000
        while True:
            await asyncio.sleep(pause_s)
            pause_s = self._lease_ms / 3000
            try:
                await self._renew()
            except StoreUnavailable as error:
                # A failover may take most of a lease and still be too short to count as an outage,
                # so the next try must come soon.
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
                # Renewing does not prolong the lease of a silent one: it ends one lease after its
                # last sign of life.
                step.append(subscriber)
                renewals.append(
                    Renewal(
                        subscriber.gid,
                        subscriber.uid,
                        subscriber.session,
                        self._lease_ms - silence_ms,
                        about=subscriber.changed_about(),
                    )
                )
            if not renewals:
                continue
            for position, gone in (await self._store.renew(renewals)).items():
                self._dispatcher.end(step[position], Ended.after(gone))

    async def _keep_expiring(self) -> None:
        # The first look comes at once: leases may have ended while no process ran.
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
                    "%d leases expired; %d deliveries were released.",
                    expired.subscribers,
                    expired.released,
                )
                self._metrics.releases.inc(expired.released)
            if expired.wait_ms is not None:
                # A millisecond more, so that the lease has ended when we look.
                wait_s = min(self._tick_s, (expired.wait_ms + 1) / 1000)
            if self._ticket_bells is not None:
                # The look has also read these, at no cost, in case a ring was lost.
                self._ticket_bells.announce(expired)

    async def _keep_taking_overdue(self) -> None:
        # A delivery of now is overdue after `max_idle`, so a wait of that length misses none.
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
            if wait_ms is not None:
                wait_s = min(longest_s, (wait_ms + 1) / 1000)

    async def _take_overdue(self) -> int | None:
        """Take overdue deliveries back; give the ms until the next one is overdue."""
        here = {(one.gid, one.uid): one for one in self._dispatcher}
        overdue = await self._store.overdue(
            [(one.gid, one.uid, one.session) for one in here.values()]
        )
        for taken in overdue.taken:
            log.info(
                "Delivery %d of entry %d was held for too long by %s.",
                taken.attempt,
                taken.index,
                plain_name(taken.uid),
            )
            subscriber = here[taken.gid, taken.uid]
            subscriber.take(taken.index, taken.attempt)
            self._dispatcher.window_changed(subscriber)
        self._metrics.overdue.inc(len(overdue.taken))
        return overdue.wait_ms
