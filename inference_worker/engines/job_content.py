"""The contents that come with a job and leave it: what an engine gets of them, and what it gives.

In the process of the engine, which needs no token: the supervisor has fetched every content into
the folder of the job, and uploads the output that it finds there.

    payload of a job that is a file     its path for engines that take one, else its bytes
    {"$file": id} in a JSON payload     a pathlib.Path for handlers, else a data URL
    a Path or an open file as output    a file in the job's folder
"""

import base64
import errno
import json
import mimetypes
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, TypeGuard

from client_sdk.wire import names
from inference_worker.engines.engine import Engine, Failed, Finished, Job, JobFile
from inference_worker.engines.failures import BadInput, TooBig, failure_of
from inference_worker.engines.media_form import as_json, is_media_form
from inference_worker.engines.payload import MOST_RESULT_BYTES, read_json

#: The files of one job that become data URLs may have this many bytes together.
MOST_INLINED_BYTES = 32 * 1024 * 1024

#: The first bytes of a payload show whether it may be JSON; this many are read.
BEGINNING_BYTES = 1024

#: The names in a job's folder: of its output, which the supervisor uploads, and of outputs that a
#: handler gave as an open file.
OUTPUT_NAME = "output"
_SPOOL_PREFIX = "penstock-output-"
#: What the names of artifacts in a job's folder begin with.
ARTIFACT_PREFIX = "artifact-"


def prepared(engine: Engine, job: Job) -> Job:
    """Return the job as the engine takes it.  Reads files, so not in an event loop.

    Raises BadInput.
    """
    if not engine.takes_forms and is_media_form(job):
        job = as_json(job)
    if job.payload_path and not engine.takes_path(job):
        job = replace(job, data=Path(job.payload_path).read_bytes(), payload_path="")
    if job.files and not engine.takes_files and job.data:
        job = replace(job, data=_with_data_urls(job), files=())
    return job


def may_be_json(job: Job) -> bool:
    """Return whether the payload of a job, which is a file, may be JSON.  Reads the first bytes."""
    if job.path or job.content_type.partition(";")[0].strip().lower() == names.JSON:
        return True
    with Path(job.payload_path).open("rb") as file:
        # An object, or the text of a data URL; blanks may come before it.
        return file.read(BEGINNING_BYTES).lstrip()[:1] in (b"{", b'"', b"")


def for_handler(file: JobFile) -> Path:
    """Return what a handler gets for a file that its JSON names."""
    return Path(file.path)


def with_files(
    value: Any, files: Mapping[str, JobFile], made: Callable[[JobFile], object] = for_handler
) -> Any:
    """Return a JSON value with `made(file)` for each {"$file": id} of these files."""
    if not files:
        return value
    match value:
        case {"$file": str(file_id)} if len(value) == 1 and file_id in files:
            return made(files[file_id])
        case dict():
            return {name: with_files(one, files, made) for name, one in value.items()}
        case list():
            return [with_files(one, files, made) for one in value]
        case _:
            return value


def with_files_of(job: Job, value: Any) -> Any:
    """Return a JSON value with a path for each {"$file": id} of the job's files."""
    return with_files(value, {file.id: file for file in job.files})


def json_of(job: Job) -> Any:
    """Return the payload as JSON, with the paths of its files; raises BadInput."""
    return with_files_of(job, read_json(job.data))


def is_output_file(output: object) -> TypeGuard[Path | BinaryIO]:
    """Return whether a handler's output is a file: its path, or an open one."""
    return isinstance(output, os.PathLike) or (
        hasattr(output, "read") and hasattr(output, "seek") and hasattr(output, "fileno")
    )


def finished_with(output: Path | BinaryIO) -> Finished:
    """Return the end of a job whose output is this file."""
    if isinstance(output, os.PathLike):
        return Finished(b"", path=os.path.abspath(output))
    # It is ours now, and closed when it is read.
    with output, tempfile.NamedTemporaryFile(prefix=_SPOOL_PREFIX, delete=False) as spool:
        if output.writable():
            output.flush()
        output.seek(0)
        while piece := output.read(1 << 20):
            spool.write(piece.encode() if isinstance(piece, str) else piece)
    name = getattr(output, "name", "")
    kind = _type_of(name) if isinstance(name, str) else ""
    return Finished(b"", path=spool.name, content_type=kind)


def is_large(job: Job, end: Finished | Failed) -> bool:
    """Return whether the output has to become a file."""
    return isinstance(end, Finished) and 0 < job.inline_bytes < len(end.output)


class DiskFull(Exception):
    """The disk has no room for an output."""

    def __init__(self) -> None:
        super().__init__("the disk of the worker is full")


def settled(job: Job, end: Finished) -> Finished | Failed:
    """Return the end with its output in memory if it is small, else in the job's folder.

    Writes files, so not in an event loop.  Raises DiskFull; calling it again is no harm.
    """
    try:
        if end.path:
            return _of_path(job, end)
        if is_large(job, end):
            target = _output_path(job)
            with _whole(target), target.open("xb") as file:
                file.write(end.output)
            return replace(end, output=b"", path=str(target))
    except DiskFull:
        raise
    except Exception as error:
        return failure_of(error)
    return end


@contextmanager
def _whole(target: Path) -> Iterator[None]:
    """Leave no part of this file behind if the disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        target.unlink(missing_ok=True)
        raise DiskFull from error


def _of_path(job: Job, end: Finished) -> Finished:
    path = Path(end.path)
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise TypeError(f"expected the path of a file as output, {path} is none")
    end = replace(end, content_type=end.content_type or _type_of(path.name))
    is_ours = path.name.startswith(_SPOOL_PREFIX) or _is_in(path, job.folder)
    if not job.inline_bytes or found.st_size <= job.inline_bytes:
        if found.st_size > MOST_RESULT_BYTES:
            raise TooBig(
                f"the result has {found.st_size} bytes, more than a service without files takes"
            )
        output = path.read_bytes()
        if is_ours:
            path.unlink(missing_ok=True)
        return replace(end, output=output, path="")
    target = _output_path(job)
    if path != target:
        # Copied, because the handler may write to its own file again while this one is sent.
        with _whole(target):
            shutil.move(path, target) if is_ours else shutil.copyfile(path, target)
    return replace(end, path=str(target))


def _output_path(job: Job) -> Path:
    folder = Path(job.folder)
    target = folder / OUTPUT_NAME
    with _whole(target):
        folder.mkdir(mode=0o700, exist_ok=True)
    return target


def _is_in(path: Path, folder: str) -> bool:
    return bool(folder) and path.resolve().is_relative_to(Path(folder).resolve())


def _type_of(name: str) -> str:
    return mimetypes.guess_type(name)[0] or ""


def _with_data_urls(job: Job) -> bytes:
    files = {file.id: file for file in job.files}
    if (size := sum(file.size_bytes for file in job.files)) > MOST_INLINED_BYTES:
        raise BadInput(
            f"expected files of at most {MOST_INLINED_BYTES} bytes for this engine, got {size}"
        )
    try:
        value = json.loads(job.data)
    except (ValueError, RecursionError):
        # The client has named the files some other way; the engine gets it as it is.
        return job.data
    return json.dumps(with_files(value, files, _data_url), ensure_ascii=False).encode()


def _data_url(file: JobFile) -> str:
    kind = file.content_type or _type_of(file.filename) or "application/octet-stream"
    return f"data:{kind};base64,{base64.b64encode(Path(file.path).read_bytes()).decode('ascii')}"
