"""Owners of entries: names as they are stored, and names as they are shown.

What a token puts is stored under `<owner>\\x1e<request id>`; see lua/prelude/owners.lua.  The
service's own token owns by "" and its names are stored as they are.
"""

from dataclasses import dataclass

#: Separates an owner from a name; neither may contain it.
OWNED = "\x1e"
#: Separates a name from its owner in the id that a worker reads over the EAS protocol.
AT = "@"
#: Precedes the name that a result may answer, if only the store can say whether it does.
UNSURE = "?"


@dataclass(frozen=True, slots=True)
class Viewer:
    """Whose entries a request may see and change; the owner "" sees all.

    What it puts is its owner's.
    """

    owner: str = ""

    @property
    def sees_all(self) -> bool:
        return not self.owner

    def stored(self, name: str) -> str:
        """A name of this owner's as it is stored."""
        return owned_name(self.owner, name)


#: The service's own token, and tokens with the scope `all`.
EVERYBODYS = Viewer()


def owned_name(owner: str, name: str) -> str:
    """The name as it is stored for its owner."""
    return f"{owner}{OWNED}{name}" if owner else name


def plain_name(stored: str) -> str:
    """The name as its owner knows it."""
    return stored.rpartition(OWNED)[2]


def owner_of(stored: str) -> str:
    """The owner that a stored name says, "" for the service's own."""
    return stored.partition(OWNED)[0] if OWNED in stored else ""


def qualified(name: str, owner: str) -> str:
    """The name with its owner, as a worker that speaks EAS reads it and gives it back."""
    return f"{name}{AT}{owner}" if owner else name
