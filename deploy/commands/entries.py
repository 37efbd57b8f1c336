"""Entries on the command line: read from options, printed as lines or as JSON."""

import base64
import shutil
import stat
import sys
import tempfile
from pathlib import Path
from typing import BinaryIO, cast

import typer

from client_sdk import AsyncQueue, error_of
from client_sdk.plain_text import one_line
from client_sdk.wire import names
from client_sdk.wire.frame import Frame
from deploy.commands.printing import note, say, say_json, write_payload
from deploy.commands.session import end_with
from deploy.errors import CannotPrint
from deploy.exit_codes import FAILED, NOTHING_THERE

#: More than this, in bytes, is not read into memory.
LARGE_BYTES = 1024 * 1024


def read_data(data: str, file: Path | None) -> bytes | Path | BinaryIO:
    """Return the data of the options; a large file, or what came from a pipe, is read later."""
    if file is not None and data:
        raise typer.BadParameter("give the data or --file, not both")
    if file is not None:
        try:
            found = file.stat()
            if stat.S_ISREG(found.st_mode) and found.st_size > LARGE_BYTES:
                file.open("rb").close()
                return file
            return file.read_bytes()
        except OSError as error:
            raise typer.BadParameter(f"cannot read {file}: {error.strerror}") from error
    if data == "-":
        return read_pipe()
    if not data:
        raise typer.BadParameter("give the data, - for standard input, or --file")
    return data.encode()


def read_pipe() -> bytes | BinaryIO:
    """Return what standard input gives; much of it as a file on disk."""
    data = sys.stdin.buffer.read(LARGE_BYTES)
    if len(data) < LARGE_BYTES:
        return data
    file = tempfile.TemporaryFile()  # noqa: SIM115 (it is sent, and ends with the program)
    file.write(data)
    shutil.copyfileobj(sys.stdin.buffer, file)
    file.seek(0)
    return cast(BinaryIO, file)


def read_tags(pairs: list[str]) -> dict[str, str]:
    tags: dict[str, str] = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not key or not separator:
            raise typer.BadParameter(f"expected --tag key=value, got {pair!r}")
        tags[key] = value
    return tags


async def print_results(
    queue: AsyncQueue,
    frames: list[Frame],
    *,
    as_json: bool,
    keep: bool = False,
    nothing: str = "nothing there",
) -> None:
    """Print results, then remove them from the queue; end the program when a job failed.

    Errors go to standard error, results to standard output.
    """
    if not frames:
        end_with(nothing, NOTHING_THERE)
    results = [frame for frame in frames if as_json or error_of(frame) is None]
    for frame in results:
        if as_json:
            print_frame(frame, as_json=True)
        else:
            write_payload(frame.data, between=len(results) > 1)
    errors = [error.text for frame in frames if (error := error_of(frame))]
    noted = [note(f"the job failed: {text}", colour=typer.colors.RED) for text in errors]
    if not as_json and not all(noted):
        raise CannotPrint("standard error takes no more")
    if not keep:
        await queue.delete(frames)
    if errors:
        raise typer.Exit(FAILED)


def print_frame(frame: Frame, *, as_json: bool) -> None:
    """Print a frame as one line: for people, or as a JSON object."""
    request_id = frame.tags.get(names.REQUEST_ID_TAG, "")
    if not as_json:
        text = one_line(frame.data.decode(errors="replace"))
        mark = "error: " if error_of(frame) else ""
        say(f"{frame.index}\t{one_line(request_id)}\t{mark}{text}")
        return
    shown: dict[str, object] = {
        "index": frame.index,
        "request_id": request_id,
        "tags": dict(frame.tags),
    }
    if error := error_of(frame):
        shown["error"] = error.text
    try:
        shown["data"] = frame.data.decode()
    except UnicodeDecodeError:
        shown["data_base64"] = base64.b64encode(frame.data).decode("ascii")
    say_json(shown)
