"""The wording of failed connections, for the person who has to fix them."""

import os
import socket
import ssl

import aiohttp

from client_sdk import errors
from client_sdk.certificates import why_not_trusted


def failed_connection(error: Exception, otherwise: str, *, url: str) -> errors.QueueError:
    """Return the exception for a connection that could not be made.

    otherwise: the sentence for an error without one, which is a time-out.
    """
    sentence = why(error) or otherwise
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return errors.CertificateRefused(sentence, url=url)
    return errors.ConnectionFailed(sentence, url=url)


def why(error: Exception) -> str:
    """Return a sentence about a failed connection or request; "" if the error has none."""
    if not isinstance(error, aiohttp.ClientConnectorError):
        return str(error)
    # aiohttp's own text shows internal TLS settings and the address as a tuple.
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        reason = why_not_trusted(error.certificate_error)
        return f"cannot connect to {error.host}:{error.port}: {reason}"
    cause = error.os_error
    reason = str(cause)
    if isinstance(cause, ssl.SSLError):
        reason = why_not_trusted(cause)
    elif isinstance(cause, socket.gaierror):
        reason = cause.strerror or reason
    elif cause.errno:
        reason = os.strerror(cause.errno)
    return f"cannot connect to {error.host}:{error.port}: {reason}"
