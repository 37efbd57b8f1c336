"""Where the contents of files are kept: the contract that a folder and S3 keep.

What only some places can do is a capability: an attribute that is None where it is missing.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self


@dataclass(frozen=True, slots=True)
class Content:
    """What was written.  sha256: hexadecimal."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where a file is written.  attempt: two attempts at a time at one file do not meet; 0 for a
    client's upload, the only one with a limit of its size.
    """

    file_id: str
    attempt: int = 0


class ContentWriter(Protocol):
    """Writes one content; leaving the block before `finish` removes it.

    Every method raises OSError, for example when the place is full.
    """

    #: How much was written.
    size_bytes: int

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *error: object) -> None: ...

    async def write(self, piece: bytes) -> None:
        """Append a piece."""
        ...

    async def finish(self) -> Content:
        """Make the content complete."""
        ...


class LocalFiles(Protocol):
    """The capability of contents that are plain files of this machine: on a disk, with paths."""

    def path(self, file_id: str) -> Path:
        """Return where the content of a complete file is."""
        ...

    async def link(self, file_id: str, new_id: str) -> None:
        """Give a complete content a second name, which outlives the first; raises OSError."""
        ...

    def free_bytes(self) -> int:
        """Return how much more the disk takes; raises OSError."""
        ...


class Addresses(Protocol):
    """The capability of contents that others can transfer without this process."""

    async def download_address(self, file_id: str) -> str:
        """Return an address from which anybody can read this content for some minutes."""
        ...


class Contents(Protocol):
    """Contents by the id of their file."""

    @property
    def local(self) -> LocalFiles | None:
        """Files of this machine.  Elsewhere a content has only one name, so files share it."""
        ...

    @property
    def addresses(self) -> Addresses | None:
        """Addresses for others."""
        ...

    def writer(self, file_id: str, *, attempt: int = 0) -> ContentWriter:
        """Return what writes the content of a new file."""
        ...

    def read(self, file_id: str, start: int, stop: int) -> AsyncIterator[bytes]:
        """Yield the bytes of a content from `start` to `stop`; raises FileNotFoundError."""
        ...

    async def remove(self, file_id: str) -> None:
        """Remove a content; one that is not there is no error."""
        ...

    def ids(self, *, older_than_s: float) -> AsyncIterator[list[str]]:
        """Yield the ids of the contents that were completed before this time, some at a time."""
        ...

    async def remove_stalled(self, *, older_than_s: float) -> int:
        """Remove uploads that have received nothing for this time; return how many."""
        ...


class Appending(Protocol):
    """Appends to one content.  What was written stays, also when the block ends with an error."""

    #: How much has arrived.
    size_bytes: int

    async def __aenter__(self) -> Self: ...

    async def __aexit__(self, *error: object) -> None: ...

    async def write(self, piece: bytes) -> None:
        """Append a piece; raises OSError."""
        ...


class Busy(Exception):
    """Another request appends to this content."""


@dataclass(frozen=True, slots=True)
class UploadAddress:
    """Where anybody can send one content for some time: with PUT, and exactly these headers."""

    url: str = field(repr=False)
    headers: Mapping[str, str]
    valid_s: int

    def shown(self) -> dict[str, object]:
        """Return it as the client gets it."""
        headers = dict(self.headers)
        return {"method": "PUT", "url": self.url, "headers": headers, "expires_in": self.valid_s}


class DirectUploads(Protocol):
    """The capability of contents that a client sends to the storage without this process."""

    #: The largest of them.
    most_bytes: int

    async def address(self, file_id: str, *, size_bytes: int, sha256: str) -> UploadAddress:
        """Return where a client sends a content of this size and SHA-256 that was begun."""
        ...

    async def complete(self, file_id: str, size_bytes: int) -> Content:
        """Make what was sent a complete content; return its actual size and SHA-256.

        Raises FileNotFoundError when nothing was sent, or another OSError.
        """
        ...


class Partials(Protocol):
    """Contents that arrive in several requests, until they are complete."""

    @property
    def direct(self) -> DirectUploads | None:
        """Uploads that bypass this process."""
        ...

    async def create(self, file_id: str) -> None:
        """Begin a content; raises OSError."""
        ...

    async def size_bytes(self, file_id: str) -> int | None:
        """Return how much has arrived; None for a content that was not begun, or has ended."""
        ...

    def appending(self, file_id: str) -> Appending:
        """Return a block that appends; entering it raises Busy, or FileNotFoundError."""
        ...

    async def complete(self, file_id: str, size_bytes: int) -> Content:
        """Make it a complete content; `remove` then removes what is left of the partial one.

        Raises FileNotFoundError when it is not there in this size, or another OSError.
        """
        ...

    async def remove(self, file_id: str) -> None:
        """Remove a content; one that is not there is no error."""
        ...

    async def remove_stalled(self, *, older_than_s: float) -> int:
        """Remove contents to which nothing was appended for this time; return how many."""
        ...
