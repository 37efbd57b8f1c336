"""The replicas of one queue service: which one to use, and when to try another."""

import asyncio
from urllib.parse import urlsplit

from client_sdk import errors
from client_sdk.backoff import Backoff
from client_sdk.plain_text import without_login
from client_sdk.wire.codes import CloseCode

#: After a connection of at least this length, in seconds, the next wait is short again.
GOOD_CONNECTION_S = 5.0

#: The longest pause between two attempts of a worker to connect, in seconds.  Short, because after
#: an outage of the service or its store, waiting entries are delayed by this pause.
MOST_WAIT_S = 2.0


def service_address(url: str) -> str:
    """Return the URL of a queue service without a slash at its end.

    Raises BadParameter if it is not such a URL: a typing error must be reported at once, and not
    be retried like a service that is unreachable.
    """
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"http", "https"} and parts.hostname and (parts.port or 1)
    except ValueError:
        good = False
    if not good or parts.query or parts.fragment:
        raise errors.BadParameter(
            "expected the URL of a queue service such as http://127.0.0.1:8080, got "
            f"{without_login(url)!r}"
        )
    return url.rstrip("/")


class Replicas:
    """The addresses of a service's replicas; all calls use one until it fails."""

    def __init__(self, urls: str) -> None:
        """urls: one URL, or several separated by commas.  Raises BadParameter."""
        self._urls = [service_address(url.strip()) for url in urls.split(",")]
        self._position = 0

    def __len__(self) -> int:
        return len(self._urls)

    @property
    def current(self) -> str:
        """The replica to use now."""
        return self._urls[self._position]

    def pass_over(self, url: str) -> None:
        """Use the next replica from now on, unless another call has moved on from `url` already."""
        # Several calls may fail at the same replica at once; together they must move on only once.
        if url == self.current:
            self._position = (self._position + 1) % len(self._urls)


def is_about_replica(error: errors.QueueError) -> bool:
    """Return whether another replica may succeed at once where this one failed."""
    if isinstance(error, errors.StoreUnavailable) or error.status in _ABOUT_MORE:
        return False
    kinds = errors.ConnectionFailed | errors.Unavailable | errors.VersionMismatch
    return isinstance(error, kinds)


#: Reasons for a close that are the same at every replica.
_ABOUT_MORE = {int(CloseCode.LEASE_LOST), int(CloseCode.STORE_UNAVAILABLE)}


class Reconnect:
    """How long to wait before reconnecting, and to which replica.

    There is no wait while a replica is untried, nor after a replica announced that it stops: its
    successor may already listen at the same address.
    """

    def __init__(self, replicas: Replicas, backoff: Backoff) -> None:
        self._replicas = replicas
        self._backoff = backoff
        self._at_once = len(replicas) - 1
        self._connected_at: float | None = None

    def connected(self) -> None:
        """Record that a connection was made."""
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
