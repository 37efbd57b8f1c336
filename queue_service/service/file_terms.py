"""Values about files: their owner, the client's description, their limits."""

from dataclasses import dataclass

from queue_service.store.file_index import StoredFile

#: What the owner of a service's payload files begins with, before its name and incarnation.
OF_ENTRIES = "entry:"


@dataclass(frozen=True, slots=True)
class FileOwner:
    """Whose files a request sees and adds.

    name: of the owner.  sees_all: whether it also sees those of every other owner.
    """

    name: str
    sees_all: bool = False

    def may_see(self, file: StoredFile) -> bool:
        """Say whether it may read and delete this file."""
        if file.owner == self.name:
            return True
        return self.sees_all and not file.owner.startswith(OF_ENTRIES)


@dataclass(frozen=True, slots=True)
class FileLimits:
    """What files may take.

    file_bytes: of one file.  all_bytes: of all, 0 for no limit.  free_bytes: what the disk keeps
    free.  retention_s: how long a file is kept unless its upload says otherwise.
    """

    file_bytes: int
    all_bytes: int
    free_bytes: int
    retention_s: int


@dataclass(frozen=True, slots=True)
class About:
    """What the client says of a file.  expires_in_s: None is the default retention."""

    filename: str
    purpose: str
    content_type: str
    expires_in_s: int | None = None
