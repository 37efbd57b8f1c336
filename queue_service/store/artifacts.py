"""The artifacts of jobs, as prelude/artifacts.lua stores them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from redis.exceptions import RedisError

from queue_service.errors import StoreUnavailable
from queue_service.store.keys import Keys
from queue_service.store.payload import FileOfEntry
from queue_service.store.scripts import Scripts


@dataclass(frozen=True, slots=True)
class Artifact:
    """One artifact of a job.

    added_at_ms: ms since 1970; 0 before it is stored.
    """

    name: str
    file: FileOfEntry
    added_at_ms: int = 0

    def to_object(self) -> dict[str, Any]:
        """Return it as artifacts.lua takes it."""
        return {
            "name": self.name,
            "id": self.file.id,
            "bytes": self.file.size_bytes,
            "content_type": self.file.content_type,
            "sha256": self.file.sha256,
        }

    @classmethod
    def from_object(cls, stored: dict[str, Any]) -> Self:
        """Read it as artifacts.lua has stored it."""
        file = FileOfEntry(
            stored["id"], int(stored["bytes"]), stored["sha256"], stored["content_type"]
        )
        return cls(stored["name"], file, int(stored.get("at", 0)))


def write_artifacts(artifacts: Sequence[Artifact]) -> bytes:
    """Return the data of an event that adds them."""
    return json.dumps({"files": [one.to_object() for one in artifacts]}).encode()


def read_artifacts(data: bytes) -> list[Artifact]:
    """Read the data of such an event."""
    return [Artifact.from_object(one) for one in json.loads(data)["files"]]


class ArtifactStore:
    """The artifacts of one service."""

    def __init__(self, scripts: Scripts, keys: Keys) -> None:
        self._scripts = scripts
        self._key = keys.artifacts

    async def of(self, request_id: str) -> list[Artifact]:
        """Return those of the job of this stored name, in their order; raises StoreUnavailable.

        Only of one whose ticket has some: see Seen.has_artifacts.
        """
        try:
            text = await self._scripts.command(self._key, "HGET", self._key, request_id)
        except (RedisError, OSError, TimeoutError) as error:
            raise StoreUnavailable("artifacts", str(error)) from error
        return [Artifact.from_object(one) for one in json.loads(text or "[]")]
