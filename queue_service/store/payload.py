"""The contents outside Redis that an entry names: its payload, and the files of its input.

An entry names them in the tag `_files_`, which only the store writes and no client sees.  They
belong to the entry and go with it; see lua/prelude/contents.lua.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from client_sdk.wire.names import FILES_TAG, PLACES_TAG, TICKET_TAG

#: Tags that only the store sees.
_OWN_TAGS = (TICKET_TAG, FILES_TAG, PLACES_TAG)
#: In the JSON of tags, the tag of files.  In a value the quotes would be escaped.
_MARK = f'"{FILES_TAG}":'.encode()
#: What the ids of these files begin with; an upload has another word.
PAYLOAD_ID = "payload_"


@dataclass(frozen=True, slots=True)
class FileOfEntry:
    """One content that an entry owns.

    sha256: of the content, hexadecimal.  is_payload: whether it is the data of the entry.
    """

    id: str
    size_bytes: int
    sha256: str
    content_type: str = ""
    filename: str = ""
    is_payload: bool = False

    def to_object(self) -> dict[str, Any]:
        """Return it as it is stored."""
        stored: dict[str, Any] = {"id": self.id, "bytes": self.size_bytes, "sha256": self.sha256}
        if self.content_type:
            stored["content_type"] = self.content_type
        if self.filename:
            stored["filename"] = self.filename
        if self.is_payload:
            stored["payload"] = True
        return stored


def tags_with_files(tags: Mapping[str, str], files: Sequence[FileOfEntry]) -> Mapping[str, str]:
    """Return the tags as they are stored."""
    if not files:
        return tags
    return {**tags, FILES_TAG: json.dumps([file.to_object() for file in files])}


def files_of(tags_json: bytes) -> tuple[FileOfEntry, ...]:
    """Return the contents that stored tags name."""
    if _MARK not in tags_json:
        return ()
    return tuple(
        FileOfEntry(
            id=stored["id"],
            size_bytes=int(stored["bytes"]),
            sha256=stored["sha256"],
            content_type=stored.get("content_type", ""),
            filename=stored.get("filename", ""),
            is_payload=bool(stored.get("payload")),
        )
        for stored in json.loads(json.loads(tags_json)[FILES_TAG])
    )


def payload_of(files: Sequence[FileOfEntry]) -> FileOfEntry | None:
    """Return the one that is the data of its entry, if any is."""
    return next((file for file in files if file.is_payload), None)


def without_own_tags(tags: Mapping[str, str]) -> dict[str, str]:
    """Return tags of a worker without those that only the store writes."""
    return {name: value for name, value in tags.items() if name not in _OWN_TAGS}


def shown_tags(tags_json: bytes) -> dict[str, str]:
    """Return stored tags as clients see them."""
    tags: dict[str, str] = {} if tags_json == b"{}" else json.loads(tags_json)
    for name in _OWN_TAGS:
        tags.pop(name, None)
    return tags
