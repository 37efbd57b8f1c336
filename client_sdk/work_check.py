"""Checks that a service accepts this worker, before its model loads, which may take minutes."""

import asyncio
import logging
from urllib.parse import quote

import aiohttp

from client_sdk import errors
from client_sdk.backoff import Backoff
from client_sdk.certificates import trusted
from client_sdk.refusals import from_answer, is_redirect
from client_sdk.replicas import MOST_WAIT_S, Reconnect, Replicas
from client_sdk.token_header import token_header
from client_sdk.unreachable import failed_connection
from client_sdk.wire import names

log = logging.getLogger(__name__)

#: How long one replica may take to respond, in seconds.
ANSWER_TIMEOUT_S = 5.0


async def check_welcome(url: str, service: str, *, token: str, ca_file: str = "") -> None:
    """Return once a replica has accepted the token; log why, and try again, while none responds.

    Raises the error that the work connection would end with: Unauthorized, Forbidden,
    NoSuchService, or CertificateRefused.
    """
    replicas = Replicas(url)
    reconnect = Reconnect(replicas, Backoff(most_s=MOST_WAIT_S))
    path = names.WORK_PATH.format(service=quote(service, safe=""))
    timeout = aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S)
    headers = token_header(token, url)
    connector = aiohttp.TCPConnector(ssl=trusted(ca_file))
    async with aiohttp.ClientSession(
        timeout=timeout, headers=headers, connector=connector
    ) as session:
        logged: set[str] = set()
        while True:
            error = await _refusal(session, f"{replicas.current}{path}")
            if error is None:
                return
            if not error.transient:
                raise error
            # Once for each reason: the connection of the loaded worker logs every attempt.
            if str(error) not in logged:
                logged.add(str(error))
                log.warning("The queue service cannot be reached yet: %s; trying again.", error)
            await asyncio.sleep(reconnect.next_delay_s(error))


async def _refusal(session: aiohttp.ClientSession, url: str) -> errors.QueueError | None:
    """Ask one replica; return why it would refuse the worker, None if it would accept it."""
    try:
        # Without an upgrade header: the service checks the token and the service first, so the
        # response shows whether those are right.
        async with session.get(url, allow_redirects=False) as answer:
            error = from_answer(answer.status, answer.headers, await answer.read(), url=url)
    except aiohttp.ServerDisconnectedError:
        https = " (does this address need https://?)" if url.startswith("http:") else ""
        return errors.ConnectionFailed(
            f"the server ended the connection without a response{https}", url=url
        )
    except (aiohttp.ClientError, OSError) as failure:
        return failed_connection(failure, f"no response within {ANSWER_TIMEOUT_S:g} s", url=url)
    is_final = isinstance(error, errors.Unauthorized | errors.Forbidden | errors.NotFound)
    if is_redirect(answer.status):
        # The handshake of a WebSocket follows redirects, so the worker may work all the same.
        log.warning("%s", error)
    return error if is_final or (error.transient and answer.status >= 500) else None
