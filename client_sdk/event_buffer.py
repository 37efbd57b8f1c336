"""Events of running deliveries, kept until the service confirms them.  No I/O.

A broken connection neither loses nor repeats an event: unconfirmed events are sent again, and the
service ignores an event whose number it has seen.
"""

from collections import deque
from collections.abc import Iterable, Iterator

from client_sdk.wire.events import ARTIFACT, LOG, Event, EventNoted, Events
from client_sdk.wire.worker import encode_from_worker

#: Most events in one message, and about how many bytes of data.
BATCH_EVENTS = 256
BATCH_BYTES = 256 * 1024
#: Most bytes that are kept while the service is unreachable; beyond it the oldest are dropped.
MAX_BYTES = 64 * 1024 * 1024


class EventBuffer:
    """Unconfirmed events, in the order in which they were added.

    takes_logs: whether the connected service takes events with lines of logs; others are dropped.
    """

    def __init__(self) -> None:
        self.takes_logs = False
        self._unsent: deque[Event] = deque()
        self._sent: deque[Event] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._unsent) + len(self._sent)

    def add(self, event: Event) -> None:
        """Add an event; drop the oldest ones if the buffer is full."""
        if event.kind == LOG and not self.takes_logs:
            return
        self._unsent.append(event)
        self._bytes += event.size_bytes
        kept: list[Event] = []
        # The newest event stays even if it alone is above the limit.
        while self._bytes > MAX_BYTES and len(self) > 1:
            oldest = self._sent.popleft() if self._sent else self._unsent.popleft()
            # Artifacts are small, and the result has no copy of them.
            if oldest.kind == ARTIFACT:
                kept.append(oldest)
            else:
                self._bytes -= oldest.size_bytes
        self._unsent.extendleft(reversed(kept))

    def confirm(self, noted: Iterable[EventNoted]) -> None:
        """Forget the events that the service has stored."""
        newest = {(one.index, one.attempt): one.number for one in noted}
        kept: deque[Event] = deque()
        for event in self._sent:
            if event.number <= newest.get((event.index, event.attempt), 0):
                self._bytes -= event.size_bytes
            else:
                kept.append(event)
        self._sent = kept

    def send_again(self, *, takes_logs: bool = False) -> None:
        """Mark everything as unsent: the connection that carried it has ended."""
        self._unsent.extendleft(reversed(self._sent))
        self._sent.clear()
        self.takes_logs = takes_logs
        if not takes_logs:
            # A replica of an older version would refuse them and end the worker.
            self._unsent = deque(event for event in self._unsent if event.kind != LOG)
            self._bytes = sum(event.size_bytes for event in self._unsent)

    def batches(self) -> Iterator[bytes]:
        """Yield the unsent events as encoded messages."""
        while self._unsent:
            batch: list[Event] = []
            size = 0
            while self._unsent and len(batch) < BATCH_EVENTS and size < BATCH_BYTES:
                event = self._unsent.popleft()
                size += event.size_bytes
                batch.append(event)
            self._sent.extend(batch)
            yield encode_from_worker(Events(tuple(batch)))
