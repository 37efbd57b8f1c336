"""`ctx.artifact`: writes what a handler adds beside its result into the folder of its job.

In the process of the engine.  The supervisor uploads the files from there, in their order, while
the job goes on.
"""

import io
import logging
import mimetypes
import os
import re
import shutil
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from client_sdk.wire.artifacts import MOST_ARTIFACTS, why_bad_name
from inference_worker.engines.engine import Artifact, Job
from inference_worker.engines.handler_files import BYTES, file_of
from inference_worker.engines.job_content import ARTIFACT_PREFIX

NOT_KEPT = (
    "Artifacts of job %s are not kept, beginning with %r: the queue service is older than this "
    "worker, or keeps no files (set PENSTOCK_FILES_DIR or PENSTOCK_FILES_URL there), or the job "
    "came over the EAS protocol."
)
_MEDIA_TYPE = re.compile(r"[\w!#$&^.+-]{1,64}/[\w!#$&^.+-]{1,64}( *;[ -~]{1,128})?", re.ASCII)


class ArtifactWriter:
    """The artifacts of one job; usable from any thread.

    report: takes the event of each.
    """

    def __init__(self, job: Job, report: Callable[[Artifact], None], log: logging.Logger) -> None:
        self._job = job
        self._report = report
        self._log = log
        self._lock = threading.Lock()
        self._count = 0
        self._sizes: dict[str, int] = {}
        self._is_warned = False

    def add(self, name: str, content: Any, content_type: str | None) -> None:
        """Write an artifact; see Context.artifact."""
        if why := why_bad_name(name):
            raise ValueError(f"artifact: {why}")
        if content_type is not None and not _MEDIA_TYPE.fullmatch(content_type):
            raise ValueError(
                f"artifact: expected a content type such as image/png, got {content_type[:64]!r}"
            )
        with self._lock:
            if not self._job.artifact_bytes or not self._job.folder:
                if not self._is_warned:
                    self._is_warned = True
                    self._log.warning(NOT_KEPT, self._job.request_id, name)
                return
            if name not in self._sizes and len(self._sizes) >= MOST_ARTIFACTS:
                raise ValueError(
                    f"artifact: expected at most {MOST_ARTIFACTS} artifacts in one job, got "
                    f"another one, {name!r}; put files together, as in a zip"
                )
            self._write(name, content, content_type)

    def _write(self, name: str, content: Any, content_type: str | None) -> None:
        self._count += 1
        folder = Path(self._job.folder)
        folder.mkdir(mode=0o700, exist_ok=True)
        target = folder / f"{ARTIFACT_PREFIX}{self._count}"
        taken = sum(size for one, size in self._sizes.items() if one != name)
        room = self._job.artifact_bytes - taken
        try:
            kind = _copy(content, target, room)
        except BaseException:
            target.unlink(missing_ok=True)
            raise
        size = target.stat().st_size
        self._sizes[name] = size
        named = mimetypes.guess_type(name)[0]
        self._report(Artifact(name, str(target), content_type or named or kind or BYTES, size))


def _copy(content: Any, target: Path, room: int) -> str:
    """Write the content; return its type, "" if unknown.

    Raises ValueError above `room` bytes, TypeError, and the OSError of a file.
    """
    match content:
        case bytes() | bytearray() | memoryview():
            _check_room(memoryview(content).nbytes, room)
            target.write_bytes(content)
            return ""
        case str() | os.PathLike():
            return _copy_path(Path(content), target, room)
    if hasattr(content, "read") and not isinstance(content, io.TextIOBase):
        return _copy_open(content, target, room)
    if (file := file_of(content)) is None:
        raise TypeError(
            "artifact: expected bytes, the path of a file, a file that is open in binary mode, a "
            f"picture, penstock.worker.File or Audio, got {type(content).__name__}; for text, pass "
            "text.encode()"
        )
    _check_room(len(file.data), room)
    target.write_bytes(file.data)
    return file.media_type


def _copy_path(path: Path, target: Path, room: int) -> str:
    # A copy, because the handler may write the next frame to the same path.
    with path.open("rb") as source:
        found = os.fstat(source.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise TypeError(f"artifact: expected the path of a file, {path} is none")
        _check_room(found.st_size, room)
        with target.open("xb") as written:
            shutil.copyfileobj(source, written, 1 << 20)
    _check_room(target.stat().st_size, room)
    return mimetypes.guess_type(path.name)[0] or ""


def _copy_open(content: Any, target: Path, room: int) -> str:
    if content.seekable():
        content.seek(0)
    left = room
    with target.open("xb") as written:
        while piece := content.read(1 << 20):
            left -= len(piece)
            _check_room(room - left, room)
            written.write(piece)
    name = getattr(content, "name", "")
    return (mimetypes.guess_type(name)[0] or "") if isinstance(name, str) else ""


def _check_room(size: int, room: int) -> None:
    if size > room:
        raise ValueError(
            f"artifact: expected at most {max(0, room)} more bytes for this job, got {size}; the "
            "service sets the limit of a job's artifacts (max_file_mb)"
        )
