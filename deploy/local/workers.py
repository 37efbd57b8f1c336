"""Which workers of this machine are connected, as the queue service lists them for operators."""

import socket
from dataclasses import dataclass

from deploy.admin import AdminFace, service_path


@dataclass(frozen=True, slots=True)
class Connected:
    """A connected worker.

    window: how many jobs it takes now; 0 while its engine is away, it rests or it leaves.
    held: how many it has.
    """

    window: int
    held: int


async def connected_here(admin: AdminFace, service: str) -> dict[int, Connected]:
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
