"""A read, in as many calls as it takes."""

from dataclasses import replace

from queue_service.store.entry import Entry, Read
from queue_service.store.store import Store

#: A read of more entries than this is a walk over the queue, as one with a filter is.
SHORT_READ = 32
#: An answer ends with the entry that reaches this many bytes.
MOST_BYTES = 32 * 1024 * 1024


async def read_whole(store: Store, read: Read) -> list[Entry]:
    """Give the entries that a read finds now."""
    is_walk = bool(read.wanted.tags) or read.length > SHORT_READ
    look = store.scan if is_walk else store.get
    entries, go_on = await look(read)
    while go_on is not None and len(entries) < read.length:
        if sum(len(entry.data) for entry in entries) >= MOST_BYTES:
            break
        wanted = replace(read.wanted, from_index=go_on)
        rest = replace(read, wanted=wanted, length=read.length - len(entries))
        more, go_on = await look(rest)
        entries += more
    return entries
