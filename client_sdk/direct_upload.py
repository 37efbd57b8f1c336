"""Sends a content to an address in the storage of the service."""

import logging

import aiohttp
from yarl import URL

from client_sdk.content import ANSWER_S, Content
from client_sdk.file_calls import Begun
from client_sdk.transport import Transport

#: A storage that is not reached after this time, in seconds, is not used.
CONNECT_S = 5.0
#: The most of a refusal that is read for the log, in bytes.
MOST_REFUSAL_BYTES = 1024

log = logging.getLogger(__name__)


async def put_directly(transport: Transport, begun: Begun, content: Content) -> bool:
    """Send a content to the address of an upload; say whether the storage has taken it.

    Raises what reading the content raises.
    """
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S)
    try:
        async with (
            content.sending(ANSWER_S) as pieces,
            # The storage gets no token.
            transport.session_without_token.put(
                URL(begun.url, encoded=True),
                data=pieces,
                headers=begun.headers,
                timeout=timeout,
                allow_redirects=False,
            ) as response,
        ):
            if response.status in (200, 201, 204):
                return True
            refusal = await response.content.read(MOST_REFUSAL_BYTES)
            log.info("The storage refuses the upload with %d: %r", response.status, refusal)
    except (aiohttp.ClientError, OSError) as error:
        if content.failure is not None:
            raise content.failure from None
        log.info("The upload to the storage failed: %s", type(error).__name__)
    return False
