"""The part files of one lease: lines are appended, and then committed in the index.

A process that has lost its lease may still write to its own parts.  Nobody reads more of them than
the index says, and the next lease has parts of its own.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from queue_service.service.batches.folder import BatchFolder
from queue_service.store.batch import Part

OUTPUT, ERROR = "output", "error"
#: How much of a part is read at once, in bytes.
PIECE_BYTES = 256 * 1024


def append(folder: BatchFolder, part: Part, output: bytes, errors: bytes) -> Part:
    """Write behind what counts of a part; return what counts once this is committed.

    Raises OSError, for example when the disk is full; trying again writes to the same place.
    """
    _write(folder.part(OUTPUT, part.epoch), part.output_bytes, output, durable=folder.durable)
    _write(folder.part(ERROR, part.epoch), part.error_bytes, errors, durable=folder.durable)
    output_bytes, error_bytes = part.output_bytes + len(output), part.error_bytes + len(errors)
    return Part(part.epoch, output_bytes, error_bytes)


def counted_bytes(part: Part, kind: str) -> int:
    """Return how much of a part file counts."""
    return part.output_bytes if kind == OUTPUT else part.error_bytes


def committed_bytes(parts: Sequence[Part], kind: str) -> int:
    """Return how much of all parts counts."""
    return sum(counted_bytes(part, kind) for part in parts)


def committed(
    folder: BatchFolder, parts: Sequence[Part], kind: str, *, start: int = 0
) -> Iterator[bytes]:
    """Yield what counts of all parts from a byte on, piece by piece; raises OSError."""
    for part in parts:
        left = counted_bytes(part, kind)
        if left <= start:
            start -= left
            continue
        with folder.part(kind, part.epoch).open("rb") as file:
            file.seek(start)
            left, start = left - start, 0
            while left:
                piece = file.read(min(left, PIECE_BYTES))
                if not piece:
                    raise OSError(f"{folder.part(kind, part.epoch)} is shorter than committed")
                left -= len(piece)
                yield piece


def _write(path: Path, offset: int, data: bytes, *, durable: bool) -> None:
    if not data:
        return
    file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        view = memoryview(data)
        while view:
            written = os.pwrite(file, view, offset)
            view, offset = view[written:], offset + written
        if durable:
            os.fsync(file)
    finally:
        os.close(file)
