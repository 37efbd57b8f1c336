"""What a worker has told of deliveries that go on, until the service has noted it.  No I/O.

Events are kept until they are noted, so that a broken connection neither loses nor doubles any:
the service knows each by its number.
"""

from collections import deque
from collections.abc import Iterable, Iterator

from client_sdk.wire.events import Event, EventNoted, Events
from client_sdk.wire.worker import encode_from_worker

#: Events of one message, and about how many bytes of their data.
BATCH_EVENTS = 256
BATCH_BYTES = 256 * 1024
#: Bytes of events that wait for a service that is away; then the oldest are given up.
MOST_BYTES = 64 * 1024 * 1024


class Telling:
    """Events on their way to the service, in the order in which they were told."""

    def __init__(self) -> None:
        self._unsent: deque[Event] = deque()
        self._sent: deque[Event] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._unsent) + len(self._sent)

    def tell(self, event: Event) -> None:
        """Add an event."""
        self._unsent.append(event)
        self._bytes += len(event.data)
        while self._bytes > MOST_BYTES and len(self) > 1:
            oldest = self._sent.popleft() if self._sent else self._unsent.popleft()
            self._bytes -= len(oldest.data)

    def settle(self, noted: Iterable[EventNoted]) -> None:
        """Forget what was noted."""
        newest = {(one.index, one.attempt): one.number for one in noted}
        kept: deque[Event] = deque()
        for event in self._sent:
            if event.number <= newest.get((event.index, event.attempt), 0):
                self._bytes -= len(event.data)
            else:
                kept.append(event)
        self._sent = kept

    def send_again(self) -> None:
        """Mark everything as unsent: the connection that carried it is gone."""
        self._unsent.extendleft(reversed(self._sent))
        self._sent.clear()

    def batches(self) -> Iterator[bytes]:
        """Give what is unsent, as messages."""
        while self._unsent:
            batch: list[Event] = []
            size = 0
            while self._unsent and len(batch) < BATCH_EVENTS and size < BATCH_BYTES:
                event = self._unsent.popleft()
                size += len(event.data)
                batch.append(event)
            self._sent.extend(batch)
            yield encode_from_worker(Events(tuple(batch)))
