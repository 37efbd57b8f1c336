"""How the files API describes a file: OpenAI's fields, and what clients need to check it."""

from collections.abc import Sequence

from queue_service.store.file_index import StoredFile


def described(file: StoredFile) -> dict[str, object]:
    """Return a file as an object of OpenAI's API; times are seconds since 1970."""
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.size_bytes,
        "created_at": file.created_at_ms // 1000,
        "expires_at": file.expires_at_ms // 1000,
        "filename": file.filename,
        "purpose": file.purpose,
        "content_type": file.content_type,
        "sha256": file.sha256,
        # OpenAI's clients wait until a file is processed; here it is when it exists.
        "status": "processed",
    }


def listed(files: Sequence[StoredFile], *, has_more: bool) -> dict[str, object]:
    """Return a page of files."""
    return {
        "object": "list",
        "data": [described(file) for file in files],
        "first_id": files[0].id if files else None,
        "last_id": files[-1].id if files else None,
        "has_more": has_more,
    }
