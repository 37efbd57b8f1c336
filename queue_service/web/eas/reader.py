"""How one EAS request sees a queue: whose entries, and under which names.

Workers take entries of every owner from the input queue; any other token without the scope `all`
sees only its own.  Names of groups and users are kept apart by owner, so that nobody can take over
the subscription of another owner.
"""

from dataclasses import dataclass

from queue_service.service.access import Scope, Token, putter_of, viewer_of
from queue_service.service.files import FileOwner
from queue_service.service.queues import Queue
from queue_service.store.entry import Filter
from queue_service.store.owners import EVERYBODYS, Viewer, owned_name
from queue_service.store.putter import Putter
from queue_service.web.parameters import Parameters


@dataclass(frozen=True, slots=True)
class Reader:
    """One request's view.

    viewer: whose entries it sees.  owner: the token's; "" for a token that sees everything.
    path: what follows the queue in the URL, for engines that are HTTP servers.
    putter: as whom it puts into the input queue; None for the service's own token, which has no
        limits, and for the sink, where limits are those of the input.
    files_of: whose uploads its inputs may name.
    """

    queue: Queue
    viewer: Viewer
    owner: str
    path: str
    putter: Putter | None
    files_of: FileOwner

    @classmethod
    def of(cls, queue: Queue, token: Token | None, path: str, files_of: FileOwner) -> "Reader":
        """Return the view of a request with this token; None is the service's own."""
        viewer = viewer_of(token)
        works = token is not None and Scope.WORK in token.scopes
        is_input = queue.role == "input"
        return cls(
            queue,
            EVERYBODYS if is_input and works else viewer,
            viewer.owner,
            path,
            putter_of(token) if is_input and token is not None else None,
            files_of,
        )

    @property
    def changes(self) -> Viewer:
        """Whose entries it may delete."""
        return Viewer(self.owner)

    @property
    def taker(self) -> str:
        """Whose subscribers a get that deletes may take entries from; "" for all."""
        return self.owner if self.queue.role == "input" else ""

    @property
    def shows_owner(self) -> bool:
        """Whether ids name the owner: for workers, whose results then name it too."""
        return self.queue.role == "input"

    def group(self, parameters: Parameters) -> str:
        """The group as it is stored; a group of the sink is its owner's."""
        gid = parameters.group()
        return owned_name(self.owner, gid) if self.queue.role == "sink" else gid

    def user(self, parameters: Parameters) -> str:
        """The user as it is stored; a user of the input queue is its owner's."""
        uid = parameters.user()
        return owned_name(self.owner, uid) if self.queue.role == "input" else uid

    def wanted(self, parameters: Parameters, from_index: int = 0) -> Filter:
        """Which entries a get, a count or a watch is for."""
        return parameters.wanted(from_index, owner=self.viewer.owner)
