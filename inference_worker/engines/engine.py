"""What an engine is: the narrow contract between the worker and whatever computes.

Pure: no queue, no socket, no clock.  An engine is given a Job and yields Events:

    Started?  (Delta | Progress | Usage)*  then exactly one of  Finished | Failed

To cancel a job is to close its iterator.  Whether a job is cancelled, goes out again or is
answered with its error is decided by the worker, never by the engine.
"""

import importlib.util
import logging
import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from client_sdk.wire import codes
from client_sdk.wire.failures import FailureType, type_of_code
from inference_worker.engines.user_thread import MainThread
from inference_worker.errors import BadEngine
from inference_worker.resource_usage import ResourceUsage

#: The failure of an input that no further attempt can cure.
BAD_INPUT = "BadInput"
#: The failure of a job whose engine process died under it, or gave no sign of life any more.
ENGINE_DIED = codes.ENGINE_DIED
#: The failure of a job under which the device was lost: this process can compute nothing more.
DEVICE_LOST = "DeviceLost"
#: The failure of a job whose result is larger than may be.
RESULT_TOO_BIG = "ResultTooBig"


@dataclass(frozen=True, slots=True)
class Job:
    """One input entry, as an engine sees it.

    data: the payload as it was put.  tags: text to text.  attempt: from 1, the how-manieth
    hand-out this is.  last_attempt: a failure now is answered instead of tried again.
    path: the sub-path of the original request; "" for none.  content_type: "" when none was given.
    deadline: when this attempt is cut off, in seconds since 1970; None for never.
    """

    request_id: str
    data: bytes
    tags: Mapping[str, str] = field(default_factory=dict)
    attempt: int = 1
    last_attempt: bool = False
    path: str = ""
    content_type: str = ""
    deadline: float | None = None


@dataclass(frozen=True, slots=True)
class Started:
    """The engine works on the job now; before this it waited inside the engine."""


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of the output, never cumulative; `tokens` of it where the engine counts them."""

    data: bytes
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the job is, from 0 to 1, and a word about it."""

    fraction: float
    note: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """What the job took, in tokens."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Finished:
    """The job is done.

    output: the whole result, deltas included; empty when there is nothing for the sink.
    tags: laid over the tags of the input.
    """

    output: bytes
    tags: Mapping[str, str] = field(default_factory=dict)
    reason: str = "complete"


@dataclass(frozen=True, slots=True)
class Failed:
    """The job is not done.

    code: a machine word, or an HTTP status as text.  message: one line for the client.
    retryable: another attempt, here or elsewhere, may succeed.  data: what the client is given
    in place of the message, should this failure be the last.
    type: by default the one that the code stands for.  after_s: how long to wait before another
    attempt, in seconds, as the handler or server asked.  cooldown_s: how long to leave the place of
    this job empty, because the server has too much to do.  uncharged: it is not known whether this
    job or another owner's beside it ended the engine.
    """

    code: str
    message: str
    retryable: bool = True
    data: bytes = b""
    type: FailureType | None = None
    after_s: float | None = None
    cooldown_s: float = 0.0
    uncharged: bool = False

    def __post_init__(self) -> None:
        if self.type is None:
            object.__setattr__(self, "type", type_of_code(self.code))

    @property
    def kind(self) -> FailureType:
        """The type of the failure, which is never None."""
        return self.type or type_of_code(self.code)


@dataclass(frozen=True, slots=True)
class Refresh:
    """The engine's process is to be replaced once this job has ended, as the code wishes.

    Only from an engine with a process of its own, and never seen by a worker.
    """


Event = Started | Delta | Progress | Usage | Refresh | Finished | Failed


class State(StrEnum):
    """What an engine says of itself."""

    OK = "ok"
    DEGRADED = "degraded"  # answers, but something is wrong with it
    DEAD = "dead"  # takes no job now


@dataclass(frozen=True, slots=True)
class Health:
    """The state of an engine, why, and any numbers it can give."""

    state: State
    reason: str = ""
    details: Mapping[str, float] = field(default_factory=dict)


class Cancelled(Exception):
    """Nobody wants the result any more; raised by `Context.raise_if_cancelled`."""


class Context:
    """What an engine or a handler is told beside its input, and what it can say back.

    While it loads there is no job, and what describes a job is empty.  Usable from any thread.
    """

    def __init__(
        self,
        job: Job | None = None,
        *,
        report: Callable[[Progress], None] = lambda progress: None,
        cancelled: Callable[[], bool] = lambda: False,
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
        self.log = log or logging.getLogger("inference_worker.handler")
        self._report = report
        self._cancelled = cancelled
        #: What the operator wants to compute on; "" for whatever is there.
        self.asked_device = device

    @property
    def device(self) -> str:
        """The device to compute on: what the operator set, else `cuda` where there is one.

        Finding that out imports torch, where it is installed.
        """
        return self.asked_device or _best_device()

    def is_cancelled(self) -> bool:
        """Say whether nobody wants the result any more; a long computation should stop then."""
        return self._cancelled()

    def raise_if_cancelled(self) -> None:
        """Raise Cancelled when nobody wants the result any more."""
        if self._cancelled():
            raise Cancelled

    def progress(self, fraction: float, note: str = "") -> None:
        """Tell how far the job, or the loading, is: from 0 to 1, with a word about it."""
        # Plain values: of a tensor or a number of numpy the other process knows nothing.
        self._report(Progress(min(1.0, max(0.0, float(fraction))), str(note)))


def _best_device() -> str:
    if "torch" not in sys.modules and importlib.util.find_spec("torch") is None:
        return "cpu"
    # Only here: torch takes seconds and hundreds of megabytes, which a handler may never need.
    import torch  # noqa: PLC0415

    return "cuda" if torch.cuda.is_available() else "cpu"


class Engine(ABC):
    """Whatever computes.  Its methods are called from one event loop and must not block it.

    name: for logs and for the list of subscribers.
    capacity: how many jobs it takes at once.  It may change while the engine runs, 0 meaning
    none now; whoever changes it calls `changed`, which carries no data: look again.
    main_thread: where a user's code is loaded; None in a process whose main thread is the worker's.
    """

    name: str
    capacity: int

    def __init__(self, name: str, *, capacity: int) -> None:
        if capacity < 1:
            raise BadEngine("a capacity of at least 1", str(capacity))
        self.name = name
        self.capacity = capacity
        self.changed: Callable[[], None] = lambda: None
        self.main_thread: MainThread | None = None

    @abstractmethod
    async def start(self, context: Context) -> None:
        """Load; ready when this returns.  Raises EngineFailed when it cannot be."""

    @abstractmethod
    def run(self, job: Job) -> AsyncGenerator[Event, None]:
        """Run one job; at most `capacity` run at once.

        Closing the iterator cancels the job, and returns once nothing of it runs any more.
        """

    def run_now(self, job: Job) -> Finished | Failed | None:
        """Answer at once, without waiting for anything, or return None to be `run`.

        This spares a cheap engine a task and an iterator for every job.
        """
        return None

    async def health(self) -> Health:
        """Say how it is."""
        return Health(State.OK)

    async def restart(self, reason: str) -> None:  # noqa: B027 (most have nothing to do)
        """Begin anew, if that can change anything; returns when it takes jobs again.

        What runs meanwhile fails with `Shutdown`.
        """

    def gauges(self) -> Mapping[str, float]:
        """Give numbers of its own; `running` and `waiting` are jobs.  Called from any thread."""
        return {}

    def resource_usage(self) -> ResourceUsage | None:
        """What a process of its own takes; None for an engine that has none."""
        return None

    @abstractmethod
    async def stop(self, grace_s: float) -> None:
        """Free what it holds; what still runs after `grace_s` seconds is cut off."""
