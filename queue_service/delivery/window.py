"""How many deliveries a subscriber may still get, and which subscriber is next.

Pure arithmetic: no clock, no socket, no Redis.  The store decides what is held and until when.
This copy, next to the socket, spares the store questions whose answer is known.
"""

from collections.abc import Container, Hashable
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar


@dataclass(slots=True)
class Window:
    """The most deliveries that a subscriber may hold, and how many it holds."""

    size: int
    held: int = 0
    #: Grows with each release, so that an older reply of the store is recognized.
    releases: int = 0

    @property
    def room(self) -> int:
        return max(0, self.size - self.held)

    def hold(self, deliveries: int) -> None:
        self.held += deliveries

    def release(self, deliveries: int) -> None:
        # A lease may end just before the commit of its delivery arrives.  Both then release the
        # same delivery, which the store counts once, and so does the window.
        self.held = max(0, self.held - deliveries)
        self.releases += 1


Member = TypeVar("Member", bound=Hashable)


class Ranking(Generic[Member]):
    """Subscribers with free slots, those that hold the fewest deliveries first, and full ones.

    Subscribers with free slots are in ranks by how many deliveries they hold.  Moving one and
    finding the first few cost the same for any number of others, so an idle subscriber costs
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
        """Those without a free slot."""
        return list(self._full)

    def place(self, member: Member, window: Window) -> None:
        """Put a member at the end of its rank, or among those without a free slot."""
        self.leave(member)
        if window.room:
            self._places[member] = window.held
            self._ranks.setdefault(window.held, {})[member] = None
        else:
            self._full[member] = None

    def leave(self, member: Member) -> None:
        """Take a member out, if it is in."""
        self._full.pop(member, None)
        held = self._places.pop(member, None)
        if held is not None:
            rank = self._ranks[held]
            del rank[member]
            if not rank:
                del self._ranks[held]

    def first(self, count: int, *, without: Container[Member] = ()) -> list[Member]:
        """The first `count` of those with free slots, leaving out some."""
        members = (member for held in sorted(self._ranks) for member in self._ranks[held])
        return list(islice((member for member in members if member not in without), count))
