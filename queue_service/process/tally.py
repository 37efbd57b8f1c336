"""Logs what strangers do in summaries: never a line for each event."""

import logging
import time

#: Seconds between two lines.
EVERY_S = 60.0


class Tally:
    """Counts one kind of event: logs the first at once, then one summary a minute.

    sentence: with %d for how many, and %s for who was the last.
    """

    def __init__(self, log: logging.Logger, sentence: str, *, every_s: float = EVERY_S) -> None:
        self._log = log
        self._sentence = sentence
        self._every_s = every_s
        self._count = 0
        self._last = ""
        self._silent_until = 0.0

    def note(self, who: str) -> None:
        """Count one more."""
        self._count += 1
        self._last = who
        self.tell()

    def tell(self) -> None:
        """Write a line when there is something to tell and the last line is old enough."""
        now = time.monotonic()
        if self._count and now >= self._silent_until:
            self._log.warning(self._sentence, self._count, self._last)
            self._count = 0
            self._silent_until = now + self._every_s
