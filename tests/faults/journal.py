"""Where a process notes what it does, so that even `kill -9` takes nothing of it away."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.faults.event import Event, What, from_line, now


class Journal:
    """A file of events, one process's own."""

    def __init__(self, path: Path, who: str) -> None:
        self.who = who
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def note(self, what: What, request_id: str = "", **more: Any) -> None:
        """Note one event that happens now; more: further fields of an Event."""
        self.write([Event(now(), self.who, what, request_id, **more)])

    def write(self, events: Iterable[Event]) -> None:
        """Note many events at once; when this returns, they survive the process."""
        os.write(self._file, b"".join(event.to_line() for event in events))

    def close(self) -> None:
        os.close(self._file)


def read(folder: Path, names: str = "*.jsonl") -> list[Event]:
    """Merge all journals of a folder that are named like this, in the order of time.

    Events of one process at the same moment keep their order.  A last line that a kill tore in
    half is left out.
    """
    events: list[Event] = []
    for path in sorted(folder.glob(names)):
        with path.open("rb") as file:
            events.extend(from_line(line) for line in file if line.endswith(b"\n"))
    events.sort(key=lambda event: event.at)
    return events
