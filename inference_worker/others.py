"""Who else works for the same service, as the queue service's attributes tell it."""

import asyncio
import logging
import re
from collections.abc import Mapping

from client_sdk import AsyncQueueClient
from client_sdk.errors import QueueError

#: One subscriber in the attributes, as PAI EAS writes it.
_SUBSCRIBER = re.compile(r"Id: (?P<who>[^,]+), .*Status: Running, .*Window: (?P<window>\d+)")

#: How long the queue service may take to answer, in seconds.
ASK_TIMEOUT_S = 5.0

log = logging.getLogger(__name__)


def others_in(attributes: Mapping[str, str], *, service: str, uid: str) -> int:
    """Count the workers beside this one that take jobs now.

    The group of the workers has the name of its service.
    """
    found = map(_SUBSCRIBER.match, attributes.values())
    windows = {one["who"]: int(one["window"]) for one in found if one}
    return sum(
        window > 0
        for who, window in windows.items()
        if who.startswith(f"{service}.") and who != f"{service}.{uid}"
    )


class Others:
    """Asks the queue service."""

    def __init__(self, url: str, service: str, *, token: str, uid: str, ca_file: str = "") -> None:
        self._url = url
        self._service = service
        self._token = token
        self._uid = uid
        self._ca_file = ca_file

    async def number(self) -> int | None:
        """Return how many others take jobs now; None when that cannot be told."""
        try:
            client = AsyncQueueClient(
                self._url, self._service, token=self._token, ca_file=self._ca_file
            )
            async with client, asyncio.timeout(ASK_TIMEOUT_S):
                attributes = await client.attributes()
        except (QueueError, TimeoutError) as error:
            # The token may be one for workers only, and the service may be away.
            log.debug("Who else works here cannot be told: %s", error)
            return None
        return others_in(attributes, service=self._service, uid=self._uid)
