"""Names and limits of artifacts: the files that a running job adds beside its result."""

import json
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from client_sdk.wire.errors import WireError

#: The most artifacts of one job.
MOST_ARTIFACTS = 256
#: The longest name, in bytes of UTF-8, as of a file on most disks.
MOST_NAME_BYTES = 255


@dataclass(frozen=True, slots=True)
class Added:
    """An artifact that a worker has uploaded: its name, and the id of the file."""

    name: str
    id: str


def why_bad_name(name: object) -> str:
    """Return why this name is not valid for an artifact; "" if it is.

    A name is one segment of a path, because clients write artifacts to files and fetch them by URL.
    """
    if not isinstance(name, str) or not name:
        return f"expected a name such as 'frame-17.png', got {name!r}"
    shown = repr(name[:64])
    if "/" in name or "\\" in name:
        return f"expected a name without / and \\, got {shown}"
    if name.startswith("."):
        return f"expected a name that does not begin with a dot, got {shown}"
    # Control characters, those that reverse the direction of a text, and halves of characters.
    if any(unicodedata.category(one) in ("Cc", "Cf", "Cs", "Zl", "Zp") for one in name):
        return f"expected a name without control characters, got {shown}"
    if len(name.encode()) > MOST_NAME_BYTES:
        return f"expected a name of at most {MOST_NAME_BYTES} bytes, got {len(name.encode())}"
    return ""


def write_added(files: Iterable[Added]) -> bytes:
    """Return the data of an event that reports artifacts."""
    return json.dumps({"files": [{"name": one.name, "id": one.id} for one in files]}).encode()


def read_added(reported: Any) -> Sequence[Added]:
    """Read the object in such an event; raises WireError."""
    files = reported.get("files") if isinstance(reported, dict) else None
    if not isinstance(files, list) or not 0 < len(files) <= MOST_ARTIFACTS:
        raise WireError(f"1 to {MOST_ARTIFACTS} artifacts", "something else")
    read = []
    for file in files:
        name, file_id = (file.get("name"), file.get("id")) if isinstance(file, dict) else (None, "")
        if why := why_bad_name(name):
            raise WireError("artifacts with names", why)
        if not isinstance(file_id, str) or not 0 < len(file_id) <= 64 or not file_id.isascii():
            raise WireError("artifacts with ids of files", repr(file_id)[:64])
        read.append(Added(str(name), file_id))
    return read
