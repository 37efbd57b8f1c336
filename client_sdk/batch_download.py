"""Downloads the results of a batch to a file, which always has whole lines.

A download arrives beside the target, and gets its name when complete.  An interrupted one resumes
there, and a download of a batch that was running continues the target.
"""

import asyncio
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import IO

from client_sdk import batch_calls, errors
from client_sdk.batch_results import ResultReader
from client_sdk.content import OnProgress
from client_sdk.download import WRITE_BYTES, replaceable
from client_sdk.transport import Transport

if sys.platform != "win32":
    import fcntl


async def download(
    transport: Transport,
    batch_id: str,
    target: Path,
    *,
    of_errors: bool,
    on_progress: OnProgress | None,
) -> Path:
    """Write the results so far to a file; see `AsyncBatches.download`."""
    real = await asyncio.to_thread(replaceable, target)
    part = real.with_name(f".{real.name[:100]}.part")
    with _opened(part) as file:
        offset = await asyncio.to_thread(_kept_bytes, file, real, batch_id, of_errors)
        reader = ResultReader(transport, batch_id, of_errors=of_errors, offset=offset)
        async with aclosing(reader.blocks()) as blocks:
            async for block in blocks:
                await asyncio.to_thread(_append, file, block)
                if on_progress is not None:
                    on_progress(reader.offset, reader.total)
        await asyncio.to_thread(os.replace, part, real)
    return target


def is_result_of(batch_id: str, path: Path, *, of_errors: bool) -> bool:
    """Say whether a file is empty, or begins with a result of this batch; raises OSError."""
    with path.open("rb") as file:
        return not path.stat().st_size or _belongs(file, batch_id, of_errors)


@contextmanager
def _opened(part: Path) -> Iterator[IO[bytes]]:
    """Open the part of an earlier download, or a new one; raises BadParameter if one is running."""
    while True:
        with os.fdopen(os.open(part, os.O_RDWR | os.O_CREAT, 0o644), "r+b", buffering=0) as file:
            _lock(file, part)
            # A download that ended meanwhile has renamed it.
            if part.exists() and os.path.samestat(part.stat(), os.fstat(file.fileno())):
                yield file
                return


def _lock(file: IO[bytes], part: Path) -> None:
    if sys.platform != "win32":
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise errors.BadParameter(f"another download is writing {part}") from None


def _kept_bytes(file: IO[bytes], target: Path, batch_id: str, of_errors: bool) -> int:
    """Return how much of the results is already here, and cut off what is torn or of another batch.

    These are in `file` after an interrupted download, otherwise in `target`.
    """
    if not file.seek(0, os.SEEK_END) and target.exists():
        with target.open("rb") as old:
            if _belongs(old, batch_id, of_errors):
                old.seek(0)
                shutil.copyfileobj(old, file, WRITE_BYTES)
    size = _whole_lines(file) if _belongs(file, batch_id, of_errors) else 0
    file.truncate(size)
    file.seek(size)
    return size


def _belongs(file: IO[bytes], batch_id: str, of_errors: bool) -> bool:
    """Say whether a file begins with a result of this batch, and of this kind."""
    file.seek(0)
    first = bytearray()
    while not first.endswith(b"\n") and (more := file.readline(WRITE_BYTES)):
        first += more
    try:
        result = batch_calls.result(bytes(first))
        is_ours = str(result.data["id"]).startswith(batch_calls.line_prefix(batch_id))
    except (errors.BadMessage, KeyError):
        return False
    return is_ours and result.succeeded != of_errors


def _whole_lines(file: IO[bytes]) -> int:
    """Return the size without a torn last line."""
    end = file.seek(0, os.SEEK_END)
    while end:
        start = max(0, end - WRITE_BYTES)
        file.seek(start)
        if (found := file.read(end - start).rfind(b"\n")) >= 0:
            return start + found + 1
        end = start
    return 0


def _append(file: IO[bytes], block: bytes) -> None:
    view = memoryview(block)
    while view:
        view = view[file.write(view) :]
