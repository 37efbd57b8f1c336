"""One pure function per operation of the files API: from arguments to a request.  No I/O."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from client_sdk.calls import Answer, Call, Retry
from client_sdk.content import Content
from client_sdk.openai_lists import Page, object_of, page_call
from client_sdk.wire import names
from client_sdk.wire.errors import WireError

#: The files of one page of a list.
PAGE = 1000
#: How long the service may check what was sent to its storage before it responds, in seconds.
COMPLETE_S = 30.0
_TUS = {"Tus-Resumable": "1.0.0"}
_PATCH_TYPE = "application/offset+octet-stream"


@dataclass(frozen=True, slots=True)
class FileInfo:
    """A file as the service described it.

    sha256: hexadecimal.  created_at, expires_at: seconds since 1970.  data: all fields of the
    response.
    """

    id: str
    size_bytes: int
    sha256: str
    filename: str
    content_type: str
    purpose: str
    created_at: int
    expires_at: int
    data: Mapping[str, Any] = field(repr=False)


def upload(
    content: Content, *, filename: str, content_type: str, purpose: str, expires_in_s: int | None
) -> Call[FileInfo]:
    """Upload a file."""
    query = {"filename": filename, "purpose": purpose}
    if expires_in_s is not None:
        query["expires_after[seconds]"] = str(expires_in_s)
    return Call(
        "upload",
        "POST",
        _file,
        query=urlencode({name: value for name, value in query.items() if value}),
        body=content,
        headers={"Content-Type": content_type or "application/octet-stream"},
        passes=frozenset({200, 201}),
    )


@dataclass(frozen=True, slots=True)
class Begun:
    """An upload that has begun: its id, and how much has arrived.

    url: where to send the whole content, an address in the storage, which is a secret; "" if the
    service takes the content itself.  headers: those that a PUT there must have.
    """

    id: str
    offset: int
    url: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


def begin(about: Mapping[str, str], *, size_bytes: int, expires_in_s: int | None) -> Call[Begun]:
    """Begin an upload that can be interrupted."""
    fields = dict(about)
    if expires_in_s is not None:
        fields["expires_after[seconds]"] = str(expires_in_s)
    encoded = [
        f"{name} {base64.b64encode(text.encode()).decode()}"
        for name, text in fields.items()
        if text
    ]
    headers = {"Upload-Length": str(size_bytes), "Upload-Metadata": ",".join(encoded), **_TUS}
    passes = frozenset({201})
    # An older service ignores the parameter.
    return Call(
        "upload",
        "POST",
        _begun,
        path="/uploads",
        query="direct=true",
        headers=headers,
        passes=passes,
    )


def begin_result(*, size_bytes: int, sha256: str, content_type: str) -> Call[Begun]:
    """Begin a worker's result that goes to the storage; url is "" if the storage takes none."""
    query = {"bytes": str(size_bytes), "sha256": sha256, "content_type": content_type}
    passes = frozenset({201})
    return Call("upload", "POST", _begun, path="/uploads", query=urlencode(query), passes=passes)


def complete_result(file_id: str) -> Call[bool]:
    """As `complete`, for a worker's result."""
    return complete(file_id, path="")


def complete(file_id: str, *, path: str = "/uploads") -> Call[bool]:
    """Ask the service to check what was sent to its storage; false if it is still checking."""
    return Call(
        "upload",
        "POST",
        lambda answer: answer.status == 200,
        path=f"{path}{_path(file_id)}/complete",
        passes=frozenset({200, 202}),
        wait_s=COMPLETE_S,
    )


def append(file_id: str, content: Content, *, offset: int) -> Call[None]:
    """Send the content from this byte on.  After an interruption, first ask for the offset."""
    return Call(
        "upload",
        "PATCH",
        lambda answer: None,
        path=f"/uploads{_path(file_id)}",
        body=content,
        headers={"Upload-Offset": str(offset), "Content-Type": _PATCH_TYPE, **_TUS},
        retry=Retry.IF_NOT_DONE,
        passes=frozenset({204}),
    )


def offset(file_id: str) -> Call[int]:
    """Ask how much of an upload has arrived."""
    return Call("upload", "GET", lambda a: _begun(a).offset, path=f"/uploads{_path(file_id)}")


def page(*, after: str, purpose: str) -> Call[Page[FileInfo]]:
    """List files, the newest first."""
    return page_call(_file_of, limit=PAGE, after=after, purpose=purpose)


def describe(file_id: str) -> Call[FileInfo]:
    """Describe a file."""
    return Call("describe", "GET", _file, path=_path(file_id))


def delete(file_id: str) -> Call[None]:
    """Delete a file."""
    return Call("delete", "DELETE", lambda answer: None, path=_path(file_id))


def content_path(file_id: str) -> str:
    """Return the path of a file's content."""
    return f"{names.FILES_PATH}{_path(file_id)}/content"


def _path(file_id: str) -> str:
    return f"/{quote(file_id, safe='')}"


def _file(answer: Answer) -> FileInfo:
    return _file_of(object_of(answer))


def _begun(answer: Answer) -> Begun:
    found = object_of(answer)
    try:
        direct = found.get("direct") or {"url": "", "headers": {}}
        headers = {str(name): str(text) for name, text in direct["headers"].items()}
        return Begun(str(found["id"]), int(found["offset"]), str(direct["url"]), headers)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise WireError("the id and the offset of an upload", repr(found)[:80]) from None


def _file_of(data: Any) -> FileInfo:
    try:
        return FileInfo(
            id=str(data["id"]),
            size_bytes=int(data["bytes"]),
            sha256=str(data["sha256"]),
            filename=str(data["filename"]),
            content_type=str(data["content_type"]),
            purpose=str(data["purpose"]),
            created_at=int(data["created_at"]),
            expires_at=int(data["expires_at"]),
            data=data,
        )
    except (KeyError, TypeError, ValueError):
        raise WireError("the description of a file", repr(data)[:80]) from None
