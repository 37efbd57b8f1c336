"""Which services and tokens are open now, by their time windows.

Every process looks at its clock when settings or tokens have changed, and when the next window
opens or closes: one timer for all of them.  What waits is not touched: the rules of the queues say
what goes out, so changed windows hold for everything that waits.  Running jobs go on.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping

from queue_service.service.access import Token, now_ms
from queue_service.service.service import Service
from queue_service.settings.windows import read_windows
from queue_service.store.putter import bulk_account

#: The longest timer, in seconds.  The clock may have been set, or the machine may have slept:
#: timers notice neither.
LONGEST_TIMER_S = 60.0


class Opening:
    """Opens and closes the queues of one process.

    services, tokens: those of the process.
    """

    def __init__(
        self,
        services: Callable[[], Iterable[Service]],
        tokens: Callable[[], Mapping[str, Token]],
    ) -> None:
        self._services = services
        self._tokens = tokens
        self._timer: asyncio.TimerHandle | None = None
        self._is_running = False

    def start(self) -> None:
        """Look now and at every change, until `stop`."""
        self._is_running = True
        self.look()

    def stop(self) -> None:
        """Stop looking."""
        self._is_running = False
        if self._timer is not None:
            self._timer.cancel()

    def look(self) -> None:
        """Open and close what the clock says, and set the timer for the next change."""
        now = now_ms()
        of_accounts = {
            account: read_windows(token.windows)
            # Also after they have expired: their jobs still wait.
            for token in self._tokens().values()
            if token.windows
            for account in (token.account, bulk_account(token.account))
        }
        every = list(of_accounts.values())
        for service in self._services():
            service.set_open(now, of_accounts)
            every.append(service.windows)
        changes = [change for windows in every if (change := windows.next_change_ms(now))]
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if changes and self._is_running:
            # A millisecond more, so that it has changed when we look.
            wait_s = min(LONGEST_TIMER_S, max(0, min(changes) + 1 - now) / 1000)
            self._timer = asyncio.get_running_loop().call_later(wait_s, self.look)
