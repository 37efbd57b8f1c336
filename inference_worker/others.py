"""Who else works for the same service: asked of the queue service, which lists its workers."""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

import aiohttp

from client_sdk.certificates import trusted
from client_sdk.replicas import Replicas
from client_sdk.wire import names

#: How long the queue service may take to answer, in seconds.
ASK_TIMEOUT_S = 5.0

log = logging.getLogger(__name__)


def others_in(workers: Iterable[Mapping[str, Any]], *, uid: str) -> int:
    """Count the workers beside this one that take jobs now."""
    return sum(one["connected"] and one["window"] > 0 for one in workers if one["uid"] != uid)


class Others:
    """Asks the queue service."""

    def __init__(self, url: str, service: str, *, token: str, uid: str, ca_file: str = "") -> None:
        self._replicas = Replicas(url)
        self._path = names.WORKERS_PATH.format(service=quote(service, safe=""))
        self._headers = {"Authorization": token} if token else {}
        self._uid = uid
        self._ca_file = ca_file

    async def number(self) -> int | None:
        """Return how many others take jobs now; None when no replica can tell."""
        try:
            async with asyncio.timeout(ASK_TIMEOUT_S):
                for _ in range(len(self._replicas)):
                    try:
                        return others_in(await self._workers(), uid=self._uid)
                    except (aiohttp.ClientError, OSError) as error:
                        log.debug("%s does not tell who else works here: %s", self._url, error)
                        self._replicas.pass_over(self._replicas.current)
        except TimeoutError:
            log.debug("%s does not answer who else works here.", self._url)
        except (ValueError, KeyError, TypeError) as error:
            # A queue service of an older version answers this path with something else.
            log.debug("Who else works here cannot be told: %s", error)
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
