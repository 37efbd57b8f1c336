"""One readable log of several processes: each line with its process in front, in a colour."""

from itertools import cycle

from rich.console import Console
from rich.text import Text

#: Columns for the name of a process.
NAME_WIDTH = 13

COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "bright_cyan", "bright_magenta")


class MergedLog:
    """Lines of many processes on one console; safe to use from their reading threads."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._colours = cycle(COLOURS)
        self._colour_of: dict[str, str] = {"penstock": "bold"}

    def line(self, name: str, text: str) -> None:
        """Show one line of the process `name`."""
        colour = self._colour_of.get(name)
        if colour is None:
            colour = self._colour_of.setdefault(name, next(self._colours))
        prefix = Text(f"{name:<{NAME_WIDTH}} ", style=colour)
        # The line is the process's own: colours it made are kept, markup is not looked for.
        self._console.print(prefix + Text.from_ansi(text), soft_wrap=True, highlight=False)
