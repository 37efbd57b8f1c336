"""`{"$file": "file_..."}` in a JSON input: a file that its client has uploaded before.

The job gets a content of its own, so the client may delete the upload, or let it expire.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

from queue_service.errors import BadParameter
from queue_service.service.file_content import StoredContent
from queue_service.service.file_errors import NoSuchFile, NoSuchReference, TooBigToResolve
from queue_service.service.files import FileOwner
from queue_service.service.payload_files import PayloadFiles
from queue_service.store.payload import FileOfEntry, payload_of
from queue_service.store.rules import MOST_READ_BYTES, Limits
from queue_service.web.payload import Payload
from queue_service.web.strict_json import MAX_DEPTH

#: The most files of one job.
MAX_FILES = 64
_NAME = "$file"
_MARK = b'"$file"'
_JSON_BEGINS = re.compile(rb"\s*[\[{]")
#: A reference in a JSON text.  In a string of it the quotes would be escaped.
_NAMED = re.compile(rb'"\$file"\s{0,100}:\s{0,100}"(?:file|payload)[_-]')
#: The longest match, in bytes.
LONGEST_NAMED_BYTES = 256
#: How an id of ours begins: another object with such a field is not about our files.
_OURS = re.compile(r"(?:file|payload)[_-]")


@asynccontextmanager
async def resolving(
    payload: Payload, files: PayloadFiles, owner: FileOwner, limits: Limits
) -> AsyncIterator[Payload]:
    """Give the payload, with files of its own for those that it names, to a block that puts it.

    Raises NoSuchReference for a file that this owner may not see, BadParameter for too many, and
    TooBigToResolve for a JSON text that is too large to be read;
    then, and after an error of the block, nothing is left of them.
    """
    resolved = await _resolve(payload, files, owner, limits)
    try:
        yield resolved
    except BaseException:
        if resolved is not payload:
            await asyncio.shield(files.settle(resolved.files))
        raise


async def _resolve(
    payload: Payload, files: PayloadFiles, owner: FileOwner, limits: Limits
) -> Payload:
    if not limits.has_files or (data := await _json_of(payload, files)) is None:
        return payload
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        # Not JSON: an engine may know what it is.
        return payload
    found: dict[str, str] = {}
    _find(value, "$", found, 0)
    if not found:
        return payload
    if len(found) > MAX_FILES:
        raise BadParameter("input", f"at most {MAX_FILES} files", f"{len(found)}")
    owned: list[FileOfEntry] = []
    try:
        ids: dict[str, str] = {}
        for file_id, path in found.items():
            try:
                file = await files.link(owner, file_id)
            except NoSuchFile:
                raise NoSuchReference(path, file_id) from None
            owned.append(file)
            ids[file_id] = file.id
        text = json.dumps(_replaced(value, ids), ensure_ascii=False).encode()
        if len(text) > limits.stored_bytes:
            # It may only now be too large for Redis.
            owned.insert(0, await files.store_bytes(text, limits, content_type="application/json"))
            text = b""
    except BaseException:
        await asyncio.shield(files.settle(owned))
        raise
    await files.settle(payload.files)
    return Payload(text, tuple(owned), of=payload.fingerprint)


async def _json_of(payload: Payload, files: PayloadFiles) -> bytes | None:
    """Return the payload if it may be JSON that names files."""
    data, file = payload.data, payload_of(payload.files)
    if file is not None:
        if not _JSON_BEGINS.match(await files.beginning(file, 64)):
            return None
        if file.size_bytes > MOST_READ_BYTES:
            await _refuse_references(await files.content(file), file.size_bytes)
            return None
        data = await files.read(file)
    return data if _MARK in data and _JSON_BEGINS.match(data) else None


async def _refuse_references(content: StoredContent, size_bytes: int) -> None:
    """Raise TooBigToResolve if a large JSON text names files: it would reach its worker unread."""
    before = b""
    async with aclosing(content.pieces(0, size_bytes)) as pieces:
        async for piece in pieces:
            if _NAMED.search(before + piece):
                raise TooBigToResolve(size_bytes, MOST_READ_BYTES)
            before = (before + piece)[-LONGEST_NAMED_BYTES:]


def _reference(value: object) -> str | None:
    if isinstance(value, dict) and len(value) == 1 and isinstance(one := value.get(_NAME), str):
        return one if _OURS.match(one) else None
    return None


def _find(value: Any, path: str, found: dict[str, str], depth: int) -> None:
    """Collect ids, each with where it is first."""
    if depth > MAX_DEPTH:
        return
    if (file_id := _reference(value)) is not None:
        found.setdefault(file_id, path)
    elif isinstance(value, dict):
        for name, item in value.items():
            _find(item, f"{path}.{name}", found, depth + 1)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            _find(item, f"{path}[{number}]", found, depth + 1)


def _replaced(value: Any, ids: dict[str, str]) -> Any:
    if (file_id := _reference(value)) is not None:
        return {_NAME: ids[file_id]}
    if isinstance(value, dict):
        return {name: _replaced(item, ids) for name, item in value.items()}
    if isinstance(value, list):
        return [_replaced(item, ids) for item in value]
    return value
