"""Reads what services do now, every few seconds, while a client follows: once for all followers."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

from client_sdk.cancellation import end_task
from queue_service.delivery.doorbell import Doorbell
from queue_service.errors import StoreError, StoreUnavailable
from queue_service.service.service import Service
from queue_service.web.overview.described import describe

log = logging.getLogger(__name__)

#: Between two reads, in seconds.
PERIOD_S = 2.0
#: The services that are read at once, so that a look at hundreds of them delays no job.
AT_ONCE = 8


class Pulse:
    """The newest descriptions of all services of this process.

    Without followers nothing is read.  services: returns the current ones.
    """

    def __init__(self, services: Callable[[], Iterable[Service]]) -> None:
        self._services = services
        self._followers = 0
        self._reading: asyncio.Task[None] | None = None
        self.bell = Doorbell()
        #: By name; a service that could not be read keeps its last description.
        self.described: dict[str, dict[str, Any]] = {}
        #: Whether the store answered at the last read.
        self.is_current = True

    @contextlib.asynccontextmanager
    async def followed(self) -> AsyncIterator[None]:
        """Keep the descriptions up to date inside the block."""
        self._followers += 1
        if self._reading is None:
            self._reading = asyncio.create_task(self._keep_reading(), name="pulse of the overview")
        try:
            yield
        finally:
            self._followers -= 1
            if not self._followers and self._reading is not None:
                reading, self._reading = self._reading, None
                # The next follower must not see old descriptions.
                self.described = {}
                await end_task(reading)

    async def _keep_reading(self) -> None:
        while True:
            await self.read()
            self.bell.ring()
            await asyncio.sleep(PERIOD_S)

    async def read(self) -> None:
        """Read all services now."""
        services = list(self._services())
        found: dict[str, dict[str, Any]] = {}
        self.is_current = True
        for first in range(0, len(services), AT_ONCE):
            part = services[first : first + AT_ONCE]
            for service, one in zip(part, await asyncio.gather(*map(self._of, part)), strict=True):
                if one is not None:
                    found[service.name] = one
        self.described = found

    async def _of(self, service: Service) -> dict[str, Any] | None:
        try:
            return await describe(service)
        except (StoreUnavailable, StoreError) as error:
            log.debug("Service %s was not read: %s", service.name, error)
            self.is_current = False
            return self.described.get(service.name)
