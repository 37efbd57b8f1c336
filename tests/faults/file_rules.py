"""The rule about contents that are kept as files; as those of rules.py."""

from collections.abc import Iterator

from tests.faults.event import What
from tests.faults.history import History, Violation


def wrong_bytes(history: History) -> Iterator[Violation]:
    """Every content that a reader got, or could see, is whole and exactly what was written.

    Those are payloads in a worker, results and artifacts at a client, and complete files.
    """
    for event in history.events:
        if event.what is What.WRONG:
            yield Violation("wrong bytes", f"{event.who} found {event.code}", event.request_id)
