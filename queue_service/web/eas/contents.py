"""Payloads in files, as EAS clients read them.

A raw get sends a file of any size as it is.  A frame is in memory as a whole, here and in the
client, so it has a limit: an entry above it is read raw.
"""

import copy
from collections.abc import Sequence

from queue_service.service.file_errors import TooBigForFrame
from queue_service.service.queues import Queue
from queue_service.store.entry import Entry
from queue_service.store.rules import MOST_READ_BYTES

#: The largest payload of one frame that is kept in a file, and of all such frames of one response.
FRAME_BYTES = MOST_READ_BYTES


async def with_data(queue: Queue, entries: Sequence[Entry]) -> list[Entry]:
    """Return the first of these entries, as many as one response has room for, with their data.

    Raises TooBigForFrame when the very first one is too large.
    """
    filled: list[Entry] = []
    left = FRAME_BYTES
    for entry in entries:
        if (file := entry.payload_file) is None:
            filled.append(entry)
            continue
        left -= file.size_bytes
        if left < 0:
            if not filled:
                raise TooBigForFrame(entry.index, file.size_bytes, FRAME_BYTES)
            break
        filled.append(await _filled(queue, entry))
    return filled


async def for_watch(queue: Queue, entry: Entry) -> Entry | None:
    """Return an entry with its data; None when it is too large for a frame."""
    file = entry.payload_file
    if file is None:
        return entry
    if file.size_bytes > FRAME_BYTES:
        return None
    return await _filled(queue, entry)


async def _filled(queue: Queue, entry: Entry) -> Entry:
    file = entry.payload_file
    assert file is not None
    filled = copy.copy(entry)
    filled.data = await queue.files.read(file)
    return filled
