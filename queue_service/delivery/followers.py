"""Whoever follows single requests: a bell for each request that somebody follows here."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from queue_service.delivery.doorbell import Doorbell


class Followers:
    """The followed requests of one service in one process.

    The ring names requests and says nothing about them: whoever follows looks in the store.
    """

    def __init__(self) -> None:
        self._bells: dict[str, tuple[Doorbell, int]] = {}
        #: Rings when workers are to stop deliveries, and when something is due.
        self.stops = Doorbell()
        self.due = Doorbell()

    def __len__(self) -> int:
        return len(self._bells)

    @contextmanager
    def follow(self, request_id: str) -> Iterator[Doorbell]:
        """Give the bell of a request for as long as the block lasts."""
        bell, count = self._bells.get(request_id, (Doorbell(), 0))
        self._bells[request_id] = (bell, count + 1)
        try:
            yield bell
        finally:
            bell, count = self._bells[request_id]
            if count > 1:
                self._bells[request_id] = (bell, count - 1)
            else:
                del self._bells[request_id]

    def ring(self, request_ids: Iterable[str]) -> None:
        """Wake those who follow one of these."""
        for request_id in request_ids:
            if found := self._bells.get(request_id):
                found[0].ring()

    def ring_all(self) -> None:
        """Wake everybody: a ring may have been lost."""
        for bell, _ in list(self._bells.values()):
            bell.ring()
