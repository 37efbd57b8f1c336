"""The driver of local mode: the workers are children of this process."""

import socket
from collections.abc import Sequence

from deploy.autoscaling.driver import Fleet, Leaver, Started
from deploy.local.service import InstanceState
from deploy.local.services import LocalServices

#: In place of the process id of a worker that is about to be started again.
NO_PID = -1


class LocalDriver:
    """Starts workers of the services of a local mode."""

    def __init__(self, services: LocalServices) -> None:
        self._services = services

    def can_scale(self, service: str) -> bool:
        """Say whether this local mode runs a service's workers."""
        return any(one.wish.name == service and not one.dormant for one in self._services)

    async def look(self, service: str) -> Fleet:
        """Return the workers, and why one has failed."""
        instances = self._services.find(service).instances
        host = socket.gethostname()
        failed = [one for one in instances if one.state is InstanceState.FAILED]
        return Fleet(
            started=tuple(
                Started(host, one.pid or NO_PID)
                for one in instances
                if one.state not in (InstanceState.FAILED, InstanceState.LEAVING)
            ),
            failed=failed[0].reason if failed else "",
        )

    async def start(self, service: str, *, current: int, wanted: int) -> None:
        """Start more workers."""
        await self._services.grow(service, by=wanted - current, to=wanted)

    async def note_leaving(
        self, service: str, leaving: Sequence[Leaver], *, current: int, wanted: int
    ) -> None:
        """Note them, so that no change of the service stops them or counts them."""
        here = {one.pid for one in leaving if one.host == socket.gethostname()}
        self._services.note_leaving(service, here, to=wanted)

    async def close(self) -> None:
        """Do nothing: it has no connections."""
