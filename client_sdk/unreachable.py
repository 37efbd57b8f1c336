"""Why there is no connection, in words for whoever has to mend it."""

import os
import socket

import aiohttp


def why(error: Exception) -> str:
    """Return a sentence about a failed connection or request; "" when the error has none."""
    if not isinstance(error, aiohttp.ClientConnectorError):
        return str(error)
    # The library's own text names its settings of TLS and repeats the address as a tuple.
    cause = error.os_error
    reason = str(cause)
    if isinstance(cause, socket.gaierror):
        reason = cause.strerror or reason
    elif cause.errno:
        reason = os.strerror(cause.errno)
    return f"cannot connect to {error.host}:{error.port}: {reason}"
