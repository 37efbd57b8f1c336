"""The replicas of one queue service: which of them to talk to, and when to try another."""

import asyncio

from client_sdk import errors
from client_sdk.address import service_address
from client_sdk.backoff import Backoff
from client_sdk.wire.codes import CloseCode

#: A connection that lived this long, in seconds, was a good one: the next wait is a short one.
GOOD_CONNECTION_S = 5.0

#: The longest wait from one try of a worker to connect to the next, in seconds.  Short, because
#: entries that wait for it wait for that too when the service or its store comes back.
MOST_WAIT_S = 2.0


class Replicas:
    """The addresses of a service's replicas; everybody talks to one until that one fails."""

    def __init__(self, urls: str) -> None:
        """urls: one URL, or several with commas between them.  Raises BadParameter."""
        self._urls = [service_address(url.strip()) for url in urls.split(",")]
        self._position = 0

    def __len__(self) -> int:
        return len(self._urls)

    @property
    def current(self) -> str:
        """The one to talk to now."""
        return self._urls[self._position]

    def pass_over(self, url: str) -> None:
        """Talk to the next one from now on, unless somebody has done with `url` already."""
        if url == self.current:
            self._position = (self._position + 1) % len(self._urls)


def is_about_replica(error: errors.QueueError) -> bool:
    """Say whether another replica may do at once what this one could not."""
    if isinstance(error, errors.StoreUnavailable) or error.status in _ABOUT_MORE:
        return False
    kinds = errors.ConnectionFailed | errors.Unavailable | errors.VersionMismatch
    return isinstance(error, kinds)


#: Ends of a connection that have nothing to do with where it led.
_ABOUT_MORE = {int(CloseCode.LEASE_LOST), int(CloseCode.STORE_UNAVAILABLE)}


class Reconnect:
    """After how long a connection that ended is to be made anew, and to which replica.

    There is no wait while there are replicas that were not tried, nor after one has said that it
    goes away: whoever is behind the same address by now is asked at once.
    """

    def __init__(self, replicas: Replicas, backoff: Backoff) -> None:
        self._replicas = replicas
        self._backoff = backoff
        self._at_once = len(replicas) - 1
        self._connected_at: float | None = None

    def connected(self) -> None:
        """Note that a connection was made."""
        self._connected_at = asyncio.get_running_loop().time()

    def next_delay_s(self, error: errors.QueueError) -> float:
        """Go on to the next replica; return the seconds to wait before it is tried."""
        connected_at, self._connected_at = self._connected_at, None
        if connected_at is not None:
            if asyncio.get_running_loop().time() - connected_at > GOOD_CONNECTION_S:
                self._backoff.reset()
                self._at_once = len(self._replicas) - 1
            if error.status == CloseCode.GOING_AWAY:
                self._at_once = max(1, self._at_once)
        self._replicas.pass_over(self._replicas.current)
        if self._at_once > 0 and is_about_replica(error):
            self._at_once -= 1
            return 0.0
        return self._backoff.next_delay_s()
