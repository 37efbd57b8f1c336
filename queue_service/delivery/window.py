"""How many deliveries a subscriber may still be given, and whose turn it is.

A window is arithmetic and nothing else: no clock, no socket, no Redis.  What is held, and
until when, is the store's to know; this is the copy beside the socket that spares the store
pointless questions.
"""

from collections.abc import Container, Hashable
from dataclasses import dataclass
from itertools import islice
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
    """Who has room, the emptiest-handed first, and who has none.

    Members with room stand in ranks by how many deliveries they hold.  Moving one and looking
    at the first few cost the same however many others are there, so an idle subscriber costs
    nothing when an entry arrives.
    """

    def __init__(self) -> None:
        self._ranks: dict[int, dict[Member, None]] = {}
        self._places: dict[Member, int] = {}
        self._full: dict[Member, None] = {}

    def __len__(self) -> int:
        return len(self._places) + len(self._full)

    @property
    def full(self) -> list[Member]:
        """Those without room."""
        return list(self._full)

    def place(self, member: Member, window: Window) -> None:
        """Put a member at the end of its rank, or among those without room."""
        self.leave(member)
        if window.room:
            self._places[member] = window.held
            self._ranks.setdefault(window.held, {})[member] = None
        else:
            self._full[member] = None

    def leave(self, member: Member) -> None:
        """Take a member out; nothing happens when it is not in."""
        self._full.pop(member, None)
        held = self._places.pop(member, None)
        if held is not None:
            rank = self._ranks[held]
            del rank[member]
            if not rank:
                del self._ranks[held]

    def emptiest(self, count: int, *, without: Container[Member] = ()) -> list[Member]:
        """The first `count` of those with room, leaving out some."""
        members = (member for held in sorted(self._ranks) for member in self._ranks[held])
        return list(islice((member for member in members if member not in without), count))
