"""The files of a batch: its parts become one file of answers and one of errors."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator

from queue_service.errors import StoreUnavailable
from queue_service.service.batches import parts
from queue_service.service.batches.folder import BatchFolder
from queue_service.service.file_errors import FilesFull, FileTooBig
from queue_service.service.files import About as FileAbout
from queue_service.service.files import FileOwner, Files
from queue_service.store.batch import About, State
from queue_service.store.contents import Place

log = logging.getLogger(__name__)

#: The purpose and the type of these files, which are OpenAI's.
PURPOSE, CONTENT_TYPE = "batch_output", "application/jsonl"
#: The pause after a full disk or an unavailable store, in seconds.
PAUSE_S = 5.0


async def publish(
    files: Files, folder: BatchFolder, about: About, state: State, epoch: int
) -> None:
    """Publish what the lines have come to, whole or not at all; waits while there is no room.

    Repeating is harmless: the ids of the files are those that the batch was made with.
    """
    for kind, file_id in ((parts.OUTPUT, about.output_file_id), (parts.ERROR, about.error_file_id)):
        if not any(parts.counted_bytes(part, kind) for part in state.parts):
            continue
        described = FileAbout(f"{about.id}_{kind}.jsonl", PURPOSE, CONTENT_TYPE, about.kept_s)
        while True:
            pieces = parts.committed(folder, state.parts, kind)
            try:
                place, owner = Place(file_id, attempt=epoch), FileOwner(about.owner)
                async with await files.upload(owner, announced_bytes=0, place=place) as upload:
                    async for piece in in_threads(pieces):
                        await upload.write(piece)
                    await upload.finish(described)
                break
            except (FilesFull, FileTooBig, StoreUnavailable) as error:
                log.warning("The %s of %s cannot be published now: %s", kind, about.id, error)
                await asyncio.sleep(PAUSE_S)


async def in_threads(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Yield what an iterator reads from a disk, which may be slow."""
    while piece := await asyncio.to_thread(next, pieces, b""):
        yield piece
