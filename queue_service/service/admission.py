"""What a request was admitted by, for as long as the request lasts.

A credential may end while a request runs: it is revoked, expires, or is replaced by another one.
Every authorized request holds an admission, so everything that the credential opened ends with it:

* `end` sets `ended`, rings `bell` and runs the callbacks of `on_end`, all in the same moment.
* A handler that waits listens to the bell as well; one that streams registers a callback.
* Before data is handed over, `check` decides: after the end nothing is given.
* `cut` ends the connection of a request that has done neither within `GRACE_S`.
"""

import asyncio
import logging
from collections.abc import Callable

from queue_service.delivery.doorbell import Doorbell
from queue_service.errors import CredentialEnded

log = logging.getLogger(__name__)

#: From the end of a credential to the end of a connection whose handler still runs, in seconds:
#: time for a status or a close code, and less than the second in which all must have ended.
GRACE_S = 0.6


class Admission:
    """The permission of one request.

    holder: whose it is, for what one credential may have at a time.  among: the admissions by the
    same credential, which this joins until `leave`.  is_valid: says whether the credential still
    permits what it permitted.  cut: ends the connection at once.
    """

    __slots__ = ("_among", "_bell", "_cut", "_is_valid", "_on_end", "ended", "holder", "settled")

    def __init__(
        self,
        holder: str,
        among: "set[Admission]",
        is_valid: Callable[[], bool],
        cut: Callable[[], None],
    ) -> None:
        self.holder = holder
        self.ended = False
        #: True when the request is carried out: its answer says so and gives nothing else.
        self.settled = False
        self._among = among
        self._is_valid = is_valid
        self._cut = cut
        self._bell: Doorbell | None = None
        self._on_end: list[Callable[[], None]] = []
        among.add(self)

    @property
    def bell(self) -> Doorbell:
        """The bell that rings when the credential ends."""
        # Made when something listens: most requests are answered before that.
        if self._bell is None:
            self._bell = Doorbell()
            if self.ended:
                self._bell.ring()
        return self._bell

    def on_end(self, callback: Callable[[], None]) -> None:
        """Call this when the credential ends; at once when it has ended."""
        if self.ended:
            callback()
        else:
            self._on_end.append(callback)

    def off_end(self, callback: Callable[[], None]) -> None:
        """Do not call it any more."""
        if callback in self._on_end:
            self._on_end.remove(callback)

    def check(self) -> None:
        """Raise CredentialEnded when the credential has ended."""
        if self.ended:
            raise CredentialEnded

    def settle(self) -> None:
        """Let the answer go out whatever happens to the credential from now on.

        For requests that change something: an answer "401" would deny what was done.
        """
        if not self.settled:
            self.check()
        self.settled = True

    def recheck(self) -> None:
        """End when the credential no longer permits the request."""
        if not self.ended and not self._is_valid():
            self._end()

    def leave(self) -> None:
        """The request has ended."""
        self._among.discard(self)

    def _end(self) -> None:
        self.ended = True
        asyncio.get_running_loop().call_later(GRACE_S, self._cut_what_is_left)
        if self._bell is not None:
            self._bell.ring()
        for callback in list(self._on_end):
            try:
                callback()
            except Exception:
                # The others must end all the same, and this one is cut.
                log.exception("A handler failed to react to the end of its credential.")

    def _cut_what_is_left(self) -> None:
        # The connection of a request that has ended may serve another credential by now.
        if self in self._among and not self.settled:
            self._cut()


def recheck_all(admissions: set[Admission]) -> None:
    """End those whose credential no longer permits them."""
    for admission in list(admissions):
        admission.recheck()
