"""Checks the service's first message to a worker.  Pure."""

from client_sdk import errors
from client_sdk.wire.errors import WireError
from client_sdk.wire.versions import OLDEST_PROTOCOL, PROTOCOL, versions_differ
from client_sdk.wire.worker import ToWorker, Welcome


def checked(message: ToWorker, *, url: str) -> Welcome:
    """Return the Welcome; raises WireError or VersionMismatch if it is no valid one."""
    if not isinstance(message, Welcome):
        raise WireError("a Welcome", repr(message)[:80])
    if not OLDEST_PROTOCOL <= message.protocol <= PROTOCOL:
        raise errors.VersionMismatch(versions_differ(message.protocol), url=url)
    if message.lease_ms <= 0:
        raise WireError("a lease above zero", f"{message.lease_ms} ms")
    return message
