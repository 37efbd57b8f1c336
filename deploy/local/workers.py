"""The connected workers of this machine, as the queue service lists them."""

import socket
from dataclasses import dataclass

from deploy.admin import AdminApi, service_path


@dataclass(frozen=True, slots=True)
class Connected:
    """A connected worker.

    window: jobs that it takes now; 0 while its engine is down, it pauses or it drains.
    held: jobs that it holds.
    """

    window: int
    held: int


async def connected_here(admin: AdminApi, service: str) -> dict[int, Connected]:
    """Return the connected workers of a service on this machine, by process id.

    Raises AdminRefused or NoAnswer.
    """
    described = await admin.ask_async("GET", service_path(service))
    # A worker on another machine may have the same process id.
    host = socket.gethostname()
    return {
        one["about"]["pid"]: Connected(window=one["window"], held=one["held"])
        for one in described["input"]["subscribers"]
        if one["connected"] and one["about"].get("pid") and one["about"].get("host") == host
    }
