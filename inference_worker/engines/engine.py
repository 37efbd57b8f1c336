"""The interface of an engine, the component that computes jobs.

Pure: no queue, no socket, no clock.  An engine gets a Job and yields Events:

    Started?  (Delta | Progress | Usage | Artifact | Logged)*  then one of  Finished | Failed

Closing the iterator cancels the job.  The worker alone decides whether a job is cancelled,
delivered again or answered with its error.
"""

import importlib.util
import logging
import os
import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO

from client_sdk.wire import codes
from client_sdk.wire.failures import FailureType, type_of_code
from client_sdk.wire.job_log import LogLine
from inference_worker.engines.user_thread import MainThread
from inference_worker.errors import BadEngine
from inference_worker.resource_usage import ResourceUsage

#: The failure of an invalid input; it is not retried.
BAD_INPUT = "BadInput"
#: The failure of a job whose engine process died, or had no heartbeat any more.
ENGINE_DIED = codes.ENGINE_DIED
#: The failure of a job that met a lost device: its process cannot compute anything more.
DEVICE_LOST = "DeviceLost"
#: The failure of a job whose result is too large.
RESULT_TOO_BIG = "ResultTooBig"
#: The failure of a job whose file the service does not have, or has with another content.
FILE_LOST = "FileLost"


@dataclass(frozen=True, slots=True)
class JobFile:
    """A file that came with a job; path: where it is until the job has ended."""

    id: str
    path: str
    filename: str = ""
    content_type: str = ""
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Job:
    """One input entry, for an engine.

    data: the payload, unchanged.  tags: text to text.  attempt: the attempt number, from 1.
    last_attempt: after a failure there is no retry.
    path: the sub-path of the original request; "" for none.  content_type: "" if the client sent
    none.
    deadline: when this attempt is stopped, in seconds since 1970; None for never.
    payload_path: the file that has the payload, if it is large; data is empty then.
    files: those that the payload's JSON names as {"$file": id}.
    folder: for files of this job; made when it is needed, removed after the job.
    inline_bytes: a larger output becomes a file of that folder; 0 means never.
    artifact_bytes: the most bytes of all its artifacts; 0 if none are kept.
    log_bytes: the most bytes of its log; 0 if none is kept.
    """

    request_id: str
    data: bytes
    tags: Mapping[str, str] = field(default_factory=dict)
    attempt: int = 1
    last_attempt: bool = False
    path: str = ""
    content_type: str = ""
    deadline: float | None = None
    payload_path: str = ""
    files: tuple[JobFile, ...] = ()
    folder: str = ""
    inline_bytes: int = 0
    artifact_bytes: int = 0
    log_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Started:
    """The engine has started the job; before this, the job waited inside the engine."""


@dataclass(frozen=True, slots=True)
class Delta:
    """The next piece of the output.

    tokens: how many it has, if the engine counts them.  chunks: what else a server has streamed,
    for the OpenAI API: lines as in client_sdk/wire/chunks.py.
    """

    data: bytes
    tokens: int = 0
    chunks: bytes = b""


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of the job, from 0 to 1, with a note."""

    fraction: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """The tokens that the job used."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Logged:
    """Lines of the job's log."""

    lines: tuple[LogLine, ...]


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file that the job adds beside its result.

    path: where its content is, in the folder of the job.  file: the id of the uploaded content,
    from the worker.
    """

    name: str
    path: str
    content_type: str
    size_bytes: int
    file: str = ""


@dataclass(frozen=True, slots=True)
class Finished:
    """The job is done.

    output: the whole result, deltas included; empty if there is nothing for the sink.
    tags: added to the tags of the input; they replace equal names.
    path: a file that has the result; output is empty then.  content_type: of it, "" if unknown.
    file: the id of the uploaded result, from the worker.  usage: its tokens, from the worker.
    """

    output: bytes
    tags: Mapping[str, str] = field(default_factory=dict)
    reason: str = "complete"
    path: str = ""
    content_type: str = ""
    file: str = ""
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The job has failed.

    code: a code, or an HTTP status as text.  message: one line for the client.
    retryable: another attempt, here or elsewhere, may succeed.  data: the client gets it instead of
    the message if there is no further attempt.
    type: by default derived from the code.  after_s: the pause before another attempt, in seconds,
    that the handler or server requested.  is_busy: a server has too much to do now, which says
    nothing about the engine; cooldown_s: how long to keep the slot of this job empty then.
    uncharged: another owner's job may have killed the engine, so this attempt does not count.
    """

    code: str
    message: str
    retryable: bool = True
    data: bytes = b""
    type: FailureType | None = None
    after_s: float | None = None
    cooldown_s: float = 0.0
    uncharged: bool = False
    is_busy: bool = False

    def __post_init__(self) -> None:
        if self.type is None:
            object.__setattr__(self, "type", type_of_code(self.code))

    @property
    def kind(self) -> FailureType:
        """The type of the failure; never None."""
        return self.type or type_of_code(self.code)


@dataclass(frozen=True, slots=True)
class Refresh:
    """The user's code asks to replace the engine's process after this job.

    Only engines in a separate process send it; the supervisor of the process handles it.
    """


Event = Started | Delta | Progress | Usage | Artifact | Logged | Refresh | Finished | Failed


class EngineState(StrEnum):
    """The health of an engine."""

    OK = "ok"
    DEGRADED = "degraded"  # works, but something is wrong
    DEAD = "dead"  # cannot run jobs now


@dataclass(frozen=True, slots=True)
class Health:
    """The state of an engine, the reason, and numbers if it has any."""

    state: EngineState
    reason: str = ""
    details: Mapping[str, float] = field(default_factory=dict)


class Cancelled(Exception):
    """The job was cancelled; raised by `Context.raise_if_cancelled`."""


class Context:
    """Information about a job for an engine or a handler, and its way to report progress.

    While the engine loads there is no job, and the fields of a job are empty.  Usable from any
    thread.
    """

    def __init__(
        self,
        job: Job | None = None,
        *,
        report: Callable[[Progress], None] = lambda progress: None,
        cancelled: Callable[[], bool] = lambda: False,
        add_artifact: Callable[[str, Any, str | None], None] | None = None,
        log: logging.Logger | None = None,
        device: str = "",
    ) -> None:
        self.request_id = job.request_id if job else ""
        self.tags: Mapping[str, str] = job.tags if job else {}
        self.attempt = job.attempt if job else 0
        self.last_attempt = job.last_attempt if job else False
        self.path = job.path if job else ""
        self.content_type = job.content_type if job else ""
        self.deadline = job.deadline if job else None
        #: The files that the payload's JSON names as {"$file": id}, by id.
        self.files: Mapping[str, Path] = {f.id: Path(f.path) for f in job.files} if job else {}
        self._folder = job.folder if job else ""
        self.log = log or logging.getLogger("inference_worker.handler")
        self._report = report
        self._cancelled = cancelled
        self._add_artifact = add_artifact
        #: The device in the operator's settings; "" if not set.
        self.asked_device = device

    @property
    def device(self) -> str:
        """The device to use: the operator's setting, else `cuda` if available, else `cpu`.

        Without a setting this imports torch, if it is installed.
        """
        return self.asked_device or _best_device()

    @property
    def folder(self) -> Path:
        """A folder for files of this job; it is removed when the job has ended.

        A file here that predict returns as its output is not copied.
        """
        if not self._folder:
            raise RuntimeError("there is no folder without a job of a worker")
        folder = Path(self._folder)
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    def is_cancelled(self) -> bool:
        """Return whether the job was cancelled; a long computation should stop then."""
        return self._cancelled()

    def raise_if_cancelled(self) -> None:
        """Raise Cancelled if the job was cancelled."""
        if self._cancelled():
            raise Cancelled

    def progress(self, fraction: float, note: str = "") -> None:
        """Report the progress of the job, or of the loading, from 0 to 1, with a note."""
        # Converted to plain values: the supervisor cannot unpickle tensors or numbers of numpy.
        self._report(Progress(min(1.0, max(0.0, float(fraction))), str(note)))

    def artifact(
        self,
        name: str,
        content: "bytes | str | os.PathLike[str] | BinaryIO | object",
        content_type: str | None = None,
    ) -> None:
        """Add a file beside the result; clients can list and fetch it while the job runs.

        name: such as `frame-17.png`; a second one of this name replaces the first.
        content: bytes, the path of a file, a file that is open in binary mode, a picture of Pillow,
        or a File or Audio of penstock.worker.  It is copied, so you may change it afterwards.
        content_type: by default that of the name, or of the content.

        Raises ValueError for a bad name, too many artifacts or too many bytes, and TypeError.  A
        service that keeps no artifacts drops them, and the worker logs why.
        """
        if self._add_artifact is None:
            raise RuntimeError("artifacts need a job of a worker")
        self._add_artifact(name, content, content_type)


def _best_device() -> str:
    if "torch" not in sys.modules and importlib.util.find_spec("torch") is None:
        return "cpu"
    # Imported only here: torch takes seconds and hundreds of megabytes, and a handler may not need
    # it.
    import torch  # noqa: PLC0415

    return "cuda" if torch.cuda.is_available() else "cpu"


class Engine(ABC):
    """Computes jobs.  Its methods are called from one event loop and must not block it.

    name: for logs and for the list of subscribers.
    capacity: how many jobs it can run at once.  It may change at any time; 0 means none now.  The
    engine calls `changed` after each change, without arguments.
    main_thread: runs the user's code; None if the worker itself uses the main thread.
    interface: the schemas of its inputs and outputs, once it is loaded (see interface.py); b"" for
    none.
    takes_files: whether it reads the files of a job itself; otherwise they become data URLs.
    takes_forms: whether it gets the forms of media requests as they came; otherwise as JSON.
    """

    name: str
    capacity: int
    interface: bytes = b""
    takes_files: bool = False
    takes_forms: bool = False

    def __init__(self, name: str, *, capacity: int) -> None:
        if capacity < 1:
            raise BadEngine("a capacity of at least 1", str(capacity))
        self.name = name
        self.capacity = capacity
        self.changed: Callable[[], None] = lambda: None
        self.main_thread: MainThread | None = None

    @abstractmethod
    async def start(self, context: Context) -> None:
        """Load the model; the engine is ready when this returns.  Raises EngineFailed."""

    @abstractmethod
    def run(self, job: Job) -> AsyncGenerator[Event, None]:
        """Run one job; at most `capacity` run at once.

        Closing the iterator cancels the job, and waits until nothing of it is running.
        """

    def takes_path(self, job: Job) -> bool:
        """Return whether it reads the payload of this job from a file; otherwise it gets bytes."""
        return False

    def run_now(self, job: Job) -> Finished | Failed | None:
        """Return the result without waiting, or None if the job needs `run`.

        Hot path: a fast engine saves a task and an iterator per job.
        """
        return None

    async def health(self) -> Health:
        """Return the health of the engine."""
        return Health(EngineState.OK)

    async def restart(self, reason: str) -> None:  # noqa: B027 (most have nothing to do)
        """Restart, if that can change anything; returns when the engine can run jobs again.

        Jobs that run meanwhile fail with `Shutdown`.
        """

    def gauges(self) -> Mapping[str, float]:
        """Return numbers for metrics; `running` and `waiting` count jobs.  From any thread."""
        return {}

    def resource_usage(self) -> ResourceUsage | None:
        """Return the resource use of the engine's process; None without a separate process."""
        return None

    @abstractmethod
    async def stop(self, grace_s: float) -> None:
        """Free all resources; jobs that still run after `grace_s` seconds are stopped."""
