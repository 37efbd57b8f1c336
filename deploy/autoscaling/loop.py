"""The control loop: scales every service that has an autoscaler or a schedule.

Two loops at once are harmless: each service has a lease in the store, and the loop that has it
decides.  A loop keeps nothing that the next one needs.
"""

import asyncio
import contextlib
import os
import secrets
import socket
from collections.abc import Callable, Collection
from dataclasses import dataclass

from deploy.autoscaling.driver import Driver
from deploy.autoscaling.scale_api import ScaleApi
from deploy.autoscaling.scaler import Scaler
from deploy.autoscaling.settings import Autoscaler
from deploy.errors import AdminRefused, DeployError

#: Seconds between two looks for services, and for new settings of those that are not scaled.
LIST_EVERY_S = 5.0
#: Seconds between two decisions: a service at zero wakes within this time of its first job.
INTERVAL_S = 1.0
#: The lease: the decisions of a killed loop are taken over after this time, in seconds.
LEASE_S = 15.0
#: Seconds that a stopping loop has to give its leases back.
GIVE_BACK_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopOptions:
    """How often to decide and how long a lease is, in seconds.

    services: the names of those to scale; empty means all that the driver can scale.
    settings: of an autoscaler, for services that have none of their own.
    """

    services: Collection[str] = ()
    settings: Autoscaler | None = None
    interval_s: float = INTERVAL_S
    lease_s: float = LEASE_S
    list_every_s: float = LIST_EVERY_S


def new_holder() -> str:
    """Return a name for this loop that no other has or had."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"


class Loop:
    """Scales services by one driver, until `run` is cancelled."""

    def __init__(
        self,
        api: ScaleApi,
        driver: Driver,
        *,
        options: LoopOptions | None = None,
        say: Callable[[str], None],
        can_scale: Callable[[str], bool] = lambda service: True,
    ) -> None:
        """say: for the operator's log.  can_scale: whether the driver runs a service's workers."""
        self._api = api
        self._driver = driver
        self._options = options or LoopOptions()
        self._say = say
        self._can_scale = can_scale
        self._holder = new_holder()
        self._scalers: dict[str, Scaler] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._trouble = ""

    async def run(self) -> None:
        """Scale until cancelled, then give the leases back."""
        try:
            while True:
                await self._look_for_services()
                await asyncio.sleep(self._options.list_every_s)
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)
            with contextlib.suppress(DeployError, TimeoutError):
                async with asyncio.timeout(GIVE_BACK_S):
                    await asyncio.gather(*(one.give_back() for one in self._scalers.values()))
            await self._driver.close()

    async def _look_for_services(self) -> None:
        options = self._options
        try:
            names = [
                name
                for name in await self._api.services()
                if self._can_scale(name) and (not options.services or name in options.services)
            ]
            found = {name: await self._is_scaled(name) for name in names}
        except Exception as error:
            # Those that are known are scaled on, whatever it is; the next look tries again.
            if str(error) != self._trouble:
                self._say(f"cannot look for services: {error or type(error).__name__}")
            self._trouble = str(error)
            return
        self._trouble = ""
        for name, is_scaled in found.items():
            if is_scaled and name not in self._tasks:
                self._tasks[name] = asyncio.create_task(self._keep_scaling(self._scalers[name]))
        for name in [name for name in self._scalers if not found.get(name)]:
            scaler = self._scalers.pop(name)
            if (task := self._tasks.pop(name, None)) is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                with contextlib.suppress(DeployError):
                    await scaler.give_back()

    async def _is_scaled(self, name: str) -> bool:
        """Say whether a service is to be scaled; as before if it alone cannot be asked."""
        try:
            return await self._has_settings(name)
        except AdminRefused:
            return name in self._tasks

    async def _has_settings(self, name: str) -> bool:
        """Say whether a service is to be scaled, and read its schedule."""
        schedule = await self._api.schedule(name)
        scaler = self._scalers.get(name)
        if scaler is None:
            scaler = self._scalers[name] = Scaler(
                service=name,
                api=self._api,
                driver=self._driver,
                holder=self._holder,
                lease_s=self._options.lease_s,
                say=self._say,
                default=self._options.settings,
            )
        scaler.schedule = schedule
        if schedule or self._options.settings:
            return True
        return bool((await self._api.figures(name)).get("autoscaler"))

    async def _keep_scaling(self, scaler: Scaler) -> None:
        while True:
            await scaler.tick()
            await asyncio.sleep(self._options.interval_s)
