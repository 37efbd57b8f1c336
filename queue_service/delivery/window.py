"""How many deliveries a subscriber may still be given, and whose turn it is.

A window is arithmetic and nothing else: no clock, no socket, no Redis.  What is held, and
until when, is the store's to know; this is the copy beside the socket that spares the store
pointless questions.
"""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar


@dataclass(slots=True)
class Window:
    """The most deliveries a subscriber may hold, and how many it does."""

    size: int
    held: int = 0
    #: Grows with each release, so that an answer of the store can be told to be older.
    releases: int = 0

    @property
    def room(self) -> int:
        return max(0, self.size - self.held)

    def hold(self, deliveries: int) -> None:
        self.held += deliveries

    def release(self, deliveries: int) -> None:
        # A lease may end on its own just before the commit for it arrives, and then both
        # release the same delivery.  The store counts it once; so do we.
        self.held = max(0, self.held - deliveries)
        self.releases += 1


Member = TypeVar("Member", bound=Hashable)


class Line(Generic[Member]):
    """Who has room, the emptiest-handed first.

    Members stand in ranks by how many deliveries they hold; moving one costs the same however
    many others are there, so an idle subscriber costs nothing when an entry arrives.
    """

    def __init__(self) -> None:
        self._ranks: dict[int, dict[Member, None]] = {}
        self._places: dict[Member, int] = {}

    def __len__(self) -> int:
        return len(self._places)

    def place(self, member: Member, window: Window) -> None:
        """Put a member at the end of its rank, or out of the line when it has no room."""
        self.leave(member)
        if window.room:
            self._places[member] = window.held
            self._ranks.setdefault(window.held, {})[member] = None

    def leave(self, member: Member) -> None:
        """Take a member out; nothing happens when it is not in."""
        held = self._places.pop(member, None)
        if held is not None:
            rank = self._ranks[held]
            del rank[member]
            if not rank:
                del self._ranks[held]

    def __iter__(self) -> Iterator[Member]:
        """Go through the members that were there at the start, the emptiest-handed first."""
        for held in sorted(self._ranks):
            yield from list(self._ranks.get(held, ()))
