"""One log of several processes: each line starts with the name of its process, in a colour.

A separate thread writes the lines.  If you stop the terminal with Ctrl-S, or the disk hangs, only
that thread waits.
"""

import re
from collections import deque
from itertools import cycle
from threading import Condition, Thread

from rich.console import Console
from rich.text import Text

from client_sdk.plain_text import harmless

#: Columns for the name of a process.
NAME_WIDTH = 13

COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "bright_cyan", "bright_magenta")

#: Lines that wait for a reader; of more, the oldest are dropped.
MOST_WAITING = 10_000

#: What sets a colour, and does nothing else to a terminal.
_COLOUR = re.compile("(\x1b\\[[0-9;]*m)")


class MergedLog:
    """Lines of many processes on one console; safe to use from their reading threads.

    `line` never waits and never fails.  The console's stream is one that drops what it cannot
    write, such as `client_sdk.steady_output` makes.
    """

    def __init__(self, console: Console, *, most_waiting: int = MOST_WAITING) -> None:
        self._console = console
        self._colours = cycle(COLOURS)
        self._colour_of: dict[str, str] = {"penstock": "bold"}
        self._most_waiting = most_waiting
        self._waiting: deque[tuple[str, str]] = deque()
        self._changed = Condition()
        self._writing = False
        self._dropped = 0
        Thread(target=self._write, name="merged-log", daemon=True).start()

    def line(self, name: str, text: str) -> None:
        """Show one line of the process `name`, soon."""
        with self._changed:
            if len(self._waiting) >= self._most_waiting:
                self._waiting.popleft()
                self._dropped += 1
            self._waiting.append((name, text))
            self._changed.notify_all()

    def flush(self, *, timeout_s: float) -> bool:
        """Wait until every line was written; return whether it was in time."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not self._waiting and not self._writing, timeout_s
            )

    def _write(self) -> None:
        while True:
            with self._changed:
                self._writing = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: bool(self._waiting))
                self._writing = True
                name, text = self._waiting.popleft()
                dropped, self._dropped = self._dropped, 0
            if dropped:
                self._show("penstock", f"{dropped} lines were dropped: the terminal was too slow")
            self._show(name, text)

    def _show(self, name: str, text: str) -> None:
        colour = self._colour_of.get(name)
        if colour is None:
            colour = self._colour_of.setdefault(name, next(self._colours))
        prefix = Text(harmless(f"{name:<{NAME_WIDTH}} "), style=colour)
        self._console.print(prefix + _coloured(text), soft_wrap=True, highlight=False)


def _coloured(text: str) -> Text:
    """Return a process's line with the colours it has and without other control characters."""
    parts = _COLOUR.split(text)
    # Every second part is a colour.
    parts[::2] = map(harmless, parts[::2])
    return Text.from_ansi("".join(parts))
