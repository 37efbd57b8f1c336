"""Scales one service: hold the lease, read the figures, decide, act, report.

Nothing here stops a worker.  Too few: the driver starts some.  Too many: the queue service asks
some to leave.  Whatever fails is tried again, and jobs wait meanwhile.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from client_sdk.respawn import Respawn
from deploy.autoscaling import kept_history
from deploy.autoscaling.driver import Driver, Fleet, Started
from deploy.autoscaling.figures import Figures
from deploy.autoscaling.policy import Decision, History
from deploy.autoscaling.scale_api import HeldByAnother, ScaleApi, names_of
from deploy.autoscaling.schedule import read_schedule
from deploy.autoscaling.settings import Autoscaler, read_autoscaler
from deploy.autoscaling.starting import Expected, starting_of, surplus
from deploy.autoscaling.wish import Wanted, read_figures, wish
from deploy.errors import AdminRefused, DeployError, NoAnswer

#: When a driver that has failed is called again.
RETRY = Respawn(first_s=1.0, longest_s=60.0)


def steady_clock() -> Callable[[], float]:
    """Return a clock that begins with the seconds since 1970, and that nobody sets afterwards.

    The history has times, and windows must neither end nor begin again when the date is corrected.
    """
    began_s = time.time() - time.monotonic()
    return lambda: began_s + time.monotonic()


#: The lease is renewed after this share of it, and counts as ours for this share.
RENEW_SHARE = 1 / 3
SURE_SHARE = 0.9


@dataclass(slots=True)
class _Trouble:
    """Failures of the driver in a row."""

    count: int = 0
    reason: str = ""
    retry_at_s: float = 0.0

    def note(self, reason: str, *, now_s: float) -> None:
        if now_s < self.retry_at_s and reason == self.reason:
            return
        self.count += 1
        self.reason, self.retry_at_s = reason, now_s + RETRY.pause_s(self.count)


@dataclass(slots=True)
class Scaler:
    """Scales one service while this autoscaler has its lease.

    holder: the name of this autoscaler.  say: for the operator's log.  default: settings of a
    service without its own.  clock: for the history, in seconds.  date: seconds since 1970, for
    the schedule.
    """

    service: str
    api: ScaleApi
    driver: Driver
    holder: str
    lease_s: float
    say: Callable[[str], None]
    default: Autoscaler | None = None
    schedule: dict[str, Any] | None = None
    clock: Callable[[], float] = field(default_factory=steady_clock)
    date: Callable[[], float] = time.time
    _history: History = field(default_factory=History)
    _decided: Decision | None = None
    _reported: tuple[int, int, str | None] | None = None
    _expected: Expected = field(default_factory=Expected)
    _trouble: _Trouble = field(default_factory=_Trouble)
    _said: str = ""
    #: Whether a failed worker was noted since the last start: it stays until the next one.
    _is_failure_noted: bool = False
    #: When the lease that this autoscaler has was renewed; None without it.
    _renewed_at_s: float | None = None

    async def tick(self) -> None:
        """Do it once; what fails is logged once, and tried again at the next tick."""
        try:
            trouble = await self._step()
        except (NoAnswer, AdminRefused) as error:
            trouble = f"the queue service cannot be asked: {error}"
        except Exception as error:
            # A defect in one service must not end the others.
            trouble = f"a decision failed: {error!r:.300}"
        if trouble and trouble != self._said:
            self.say(f"{self.service}: {trouble}")
        self._said = trouble

    async def give_back(self) -> None:
        """End the lease, so that another autoscaler need not wait for its end."""
        if self._renewed_at_s is not None:
            self._renewed_at_s = None
            await self.api.give_back(self.service, self.holder)

    async def _step(self) -> str:
        """Return what is wrong, in a sentence."""
        if not self._has_lease() and (other := await self._take_lease()):
            return f"another autoscaler decides: {other.holder}"
        fleet = await self._look()
        connected: set[Started] = set()
        if fleet.started:
            connected = await self.api.connected(self.service)
        # Last: a worker that connects meanwhile counts twice for one decision, which stops none
        # (see surplus).  With the figures first it would not count, and one too many would start.
        answer = await self.api.figures(self.service)
        wanted = self._wanted(answer)
        if isinstance(wanted, str):
            return wanted
        now_s = self.clock()
        starting = self._starting(answer, fleet, connected, now_s)
        figures = read_figures(answer, starting=starting)
        decision, self._history = wish(
            figures, wanted, self._history, now_s=now_s, date_s=self.date()
        )
        # A driver that took long to look, or this process stood still.
        if not self._has_lease() and (other := await self._renew()):
            return f"another autoscaler decides: {other.holder}"
        if decision.wanted != figures.workers and decision != self._decided:
            change = f"{figures.workers} to {decision.wanted} workers"
            self.say(f"{self.service}: {change}: {decision.reason}")
        await self._act(decision, figures, fleet, now_s)
        await self._report(decision, answer, starting)
        reason = self._trouble.reason
        return f"the driver failed, and jobs wait: {reason}" if reason else ""

    async def _take_lease(self) -> HeldByAnother | None:
        """Take the lease if nobody has it; otherwise return who decides."""
        began_s = time.monotonic()
        answer = await self.api.report(self.service, self.holder, lease_s=self.lease_s, fields={})
        if isinstance(answer, HeldByAnother):
            self._renewed_at_s = None
            return answer
        # Another one may have decided until now: then its history counts, and not ours.
        self._renewed_at_s, self._decided = began_s, None
        kept, now_s = answer.get("history") or {}, self.clock()
        self._history = kept_history.from_json(kept, now_s=now_s)
        self._expected = Expected.from_json(kept.get("expected"), now_s=now_s)
        self.say(f"{self.service}: this autoscaler decides from now on")
        return None

    def _has_lease(self) -> bool:
        if self._renewed_at_s is None:
            return False
        return time.monotonic() - self._renewed_at_s < self.lease_s * SURE_SHARE

    def _wanted(self, answer: dict[str, Any]) -> Wanted | str:
        """Return the settings, or why there are none."""
        settings, schedule = answer.get("autoscaler"), self.schedule
        if not settings and not schedule and self.default is None:
            return "it has no autoscaler any more"
        try:
            return Wanted(
                read_autoscaler(settings) if settings else self.default,
                read_schedule(schedule) if schedule else None,
            )
        except DeployError as error:
            return f"the settings cannot be used: {error}"

    async def _look(self) -> Fleet:
        try:
            async with self._renewing():
                return await self.driver.look(self.service)
        except (DeployError, OSError) as error:
            return Fleet(failed=str(error))

    def _starting(
        self, answer: dict[str, Any], fleet: Fleet, connected: set[Started], now_s: float
    ) -> int:
        """Return how many workers were started and have not connected."""
        workers = answer["workers"]
        there = workers["ready"] + workers["resting"]
        if fleet.started is None:
            self._expected = self._expected.seen(there, now_s=now_s)
            return self._expected.missing(there)
        return starting_of(fleet.started, connected)

    async def _act(self, decision: Decision, figures: Figures, fleet: Fleet, now_s: float) -> None:
        current, wanted = figures.workers, decision.wanted
        trouble = self._trouble
        if fleet.failed and not self._is_failure_noted:
            self._is_failure_noted = True
            trouble.note(fleet.failed, now_s=now_s)
        elif current - figures.loading >= wanted:
            # As many as are wanted have connected: the next failure is the first one.
            self._trouble = trouble = _Trouble()
        if wanted < current:
            await self._shrink(current, wanted, loading=figures.loading)
        elif wanted > current and now_s >= trouble.retry_at_s:
            try:
                async with self._renewing():
                    await self.driver.start(self.service, current=current, wanted=wanted)
            except (DeployError, OSError) as error:
                trouble.note(str(error), now_s=self.clock())
            else:
                trouble.reason, self._is_failure_noted = "", False
                self._expected = Expected.started(wanted, now_s=now_s, load_s=figures.load_s)

    @contextlib.asynccontextmanager
    async def _renewing(self) -> AsyncIterator[None]:
        """Renew the lease while a driver works: it may take longer than the lease."""
        task = asyncio.create_task(self._keep_renewing())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _keep_renewing(self) -> None:
        while True:
            await asyncio.sleep(self.lease_s * RENEW_SHARE)
            with contextlib.suppress(DeployError):
                await self._renew()

    async def _renew(self, **fields: object) -> HeldByAnother | None:
        began_s = time.monotonic()
        answer = await self.api.report(
            self.service, self.holder, lease_s=self.lease_s, fields=fields
        )
        if isinstance(answer, HeldByAnother):
            self._renewed_at_s = None
            return answer
        self._renewed_at_s = began_s
        return None

    async def _shrink(self, current: int, wanted: int, *, loading: int) -> None:
        count = surplus(current, wanted, loading=loading)
        if not count:
            return
        # Noted before: an autoscaler that takes over must not wait for those that leave.
        self._expected = Expected()
        if await self._renew(history=self._kept()):
            return
        leaving = await self.api.leave(self.service, self.holder, count)
        if isinstance(leaving, HeldByAnother):
            self._renewed_at_s = None
        elif leaving:
            self.say(f"{self.service}: asked to leave: {names_of(leaving)}")
            try:
                async with self._renewing():
                    await self.driver.note_leaving(
                        self.service, leaving, current=current, wanted=wanted
                    )
            except (DeployError, OSError) as error:
                self._trouble.note(str(error), now_s=self.clock())

    def _kept(self) -> dict[str, object]:
        """Return what the next autoscaler continues from."""
        return {**kept_history.to_json(self._history), "expected": self._expected.to_json()}

    async def _report(self, decision: Decision, answer: dict[str, Any], starting: int) -> None:
        """Store a decision that is new, and renew the lease in time."""
        workers = answer["workers"]
        existing = starting + workers["ready"] + workers["resting"] + workers["draining"]
        error = self._trouble.reason or None
        reported = (decision.wanted, existing, error)
        began_s = time.monotonic()
        is_fresh = began_s - (self._renewed_at_s or 0.0) < self.lease_s * RENEW_SHARE
        if reported == self._reported and is_fresh:
            return
        fields: dict[str, object] = {
            "wanted": decision.wanted,
            "reason": decision.reason,
            "driver_error": error,
            "existing": existing,
            "history": self._kept(),
        }
        self._decided, self._reported = decision, reported
        answer_to = await self.api.report(
            self.service, self.holder, lease_s=self.lease_s, fields=fields
        )
        self._renewed_at_s = None if isinstance(answer_to, HeldByAnother) else began_s
