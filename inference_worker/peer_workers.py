"""The other workers of the same service, as the queue service lists them."""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

import aiohttp

from client_sdk.certificates import trusted
from client_sdk.replicas import Replicas
from client_sdk.token_header import token_header
from client_sdk.wire import names

#: How long the queue service may take to respond, in seconds.
ASK_TIMEOUT_S = 5.0

log = logging.getLogger(__name__)


def count_peers(workers: Iterable[Mapping[str, Any]], *, uid: str) -> int:
    """Count the workers besides this one that accept jobs now."""
    return sum(one["connected"] and one["window"] > 0 for one in workers if one["uid"] != uid)


class PeerWorkers:
    """Asks the queue service for the other workers."""

    def __init__(self, url: str, service: str, *, token: str, uid: str, ca_file: str = "") -> None:
        self._replicas = Replicas(url)
        self._path = names.WORKERS_PATH.format(service=quote(service, safe=""))
        self._headers = token_header(token, url)
        self._uid = uid
        self._ca_file = ca_file

    async def count(self) -> int | None:
        """Return how many other workers accept jobs now; None if no replica responds."""
        try:
            async with asyncio.timeout(ASK_TIMEOUT_S):
                for _ in range(len(self._replicas)):
                    try:
                        return count_peers(await self._workers(), uid=self._uid)
                    except (aiohttp.ClientError, OSError) as error:
                        log.debug("%s did not list the workers: %s", self._url, error)
                        self._replicas.pass_over(self._replicas.current)
        except TimeoutError:
            log.debug("%s did not list the workers within %g s.", self._url, ASK_TIMEOUT_S)
        except (ValueError, KeyError, TypeError) as error:
            # An older queue service responds to this path with something else.
            log.debug("The list of workers cannot be read: %s", error)
        return None

    @property
    def _url(self) -> str:
        return self._replicas.current

    async def _workers(self) -> list[dict[str, Any]]:
        async with (
            aiohttp.ClientSession(
                headers=self._headers,
                raise_for_status=True,
                connector=aiohttp.TCPConnector(ssl=trusted(self._ca_file)),
            ) as session,
            session.get(f"{self._url}{self._path}", allow_redirects=False) as answer,
        ):
            workers: list[dict[str, Any]] = (await answer.json())["workers"]
            return workers
