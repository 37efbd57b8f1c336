"""The Penstock client: submit work, read results, watch a queue, connect a worker.

QueueClient blocks and AsyncQueueClient awaits; both have the same methods.  Every error is a
QueueError.  WorkConnection is for workers.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from client_sdk.errors import (
    AnswerLost,
    BadMessage,
    BadParameter,
    Closed,
    ConnectionFailed,
    Draining,
    FilesFull,
    FilesUnavailable,
    Forbidden,
    FrameTooBig,
    Gone,
    HostNotAllowed,
    IdInUse,
    InvalidInput,
    JobEnded,
    JobNotEnded,
    LeaseHeld,
    LeaseLost,
    NewerFormat,
    NoFileStore,
    NoResult,
    NoSuchService,
    NotFound,
    NotInTime,
    OriginNotAllowed,
    Overloaded,
    QueueEnded,
    QueueError,
    QueueFull,
    QuotaExceeded,
    Refused,
    RequestIdInUse,
    ServerFault,
    StoreUnavailable,
    TakenOver,
    TextChanged,
    Unauthorized,
    Unavailable,
    VersionMismatch,
)
from client_sdk.job_error import JobError, error_of
from client_sdk.job_retry import JobRetry
from client_sdk.wire.failures import FailureType
from client_sdk.wire.frame import Frame

if TYPE_CHECKING:
    from client_sdk.batch_calls import BatchInfo, BatchResult
    from client_sdk.batches import AsyncBatches
    from client_sdk.calls import Position, Receipt
    from client_sdk.client import AsyncQueue, AsyncQueueClient
    from client_sdk.file_calls import FileInfo
    from client_sdk.files import AsyncFiles
    from client_sdk.job_calls import Artifact, Job, JobEvent, LogLine, SavedResult
    from client_sdk.jobs import AsyncJobs
    from client_sdk.mapping import JobInput, Mapped
    from client_sdk.subscription import Subscription
    from client_sdk.sync import Queue, QueueClient, Watch
    from client_sdk.sync_batches import Batches
    from client_sdk.sync_files import Files
    from client_sdk.sync_jobs import Jobs
    from client_sdk.transport import RetryPolicy
    from client_sdk.wire.delivery import Delivery
    from client_sdk.wire.file_ref import FileRef
    from client_sdk.wire.worker import Completion, Failure, Outcome, Rejection, Result
    from client_sdk.work import WorkConnection
    from client_sdk.work_events import Lost, Stop, WorkStatistics
else:
    # Most of these import an HTTP client, which takes most of the time that this package needs to
    # load.
    # The process of an engine, which only reads messages, never needs it.
    _MODULES = {
        "batch_calls": ("BatchInfo", "BatchResult"),
        "batches": ("AsyncBatches",),
        "calls": ("Position", "Receipt"),
        "client": ("AsyncQueue", "AsyncQueueClient"),
        "file_calls": ("FileInfo",),
        "files": ("AsyncFiles",),
        "job_calls": ("Artifact", "Job", "JobEvent", "LogLine", "SavedResult"),
        "jobs": ("AsyncJobs",),
        "mapping": ("JobInput", "Mapped"),
        "subscription": ("Subscription",),
        "sync": ("Queue", "QueueClient", "Watch"),
        "sync_batches": ("Batches",),
        "sync_files": ("Files",),
        "sync_jobs": ("Jobs",),
        "transport": ("RetryPolicy",),
        "wire.delivery": ("Delivery",),
        "wire.file_ref": ("FileRef",),
        "wire.worker": ("Completion", "Failure", "Outcome", "Rejection", "Result"),
        "work": ("WorkConnection",),
        "work_events": ("Lost", "Stop", "WorkStatistics"),
    }
    _LOADED_WHEN_USED = {name: module for module, names in _MODULES.items() for name in names}

    def __getattr__(name):
        if name not in _LOADED_WHEN_USED:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = getattr(import_module(f"{__name__}.{_LOADED_WHEN_USED[name]}"), name)
        globals()[name] = found
        return found


__all__ = [
    "AnswerLost",
    "Artifact",
    "AsyncBatches",
    "AsyncFiles",
    "AsyncJobs",
    "AsyncQueue",
    "AsyncQueueClient",
    "BadMessage",
    "BadParameter",
    "BatchInfo",
    "BatchResult",
    "Batches",
    "Closed",
    "Completion",
    "ConnectionFailed",
    "Delivery",
    "Draining",
    "Failure",
    "FailureType",
    "FileInfo",
    "FileRef",
    "Files",
    "FilesFull",
    "FilesUnavailable",
    "Forbidden",
    "Frame",
    "FrameTooBig",
    "Gone",
    "HostNotAllowed",
    "IdInUse",
    "InvalidInput",
    "Job",
    "JobEnded",
    "JobError",
    "JobEvent",
    "JobInput",
    "JobNotEnded",
    "JobRetry",
    "Jobs",
    "LeaseHeld",
    "LeaseLost",
    "LogLine",
    "Lost",
    "Mapped",
    "NewerFormat",
    "NoFileStore",
    "NoResult",
    "NoSuchService",
    "NotFound",
    "NotInTime",
    "OriginNotAllowed",
    "Outcome",
    "Overloaded",
    "Position",
    "Queue",
    "QueueClient",
    "QueueEnded",
    "QueueError",
    "QueueFull",
    "QuotaExceeded",
    "Receipt",
    "Refused",
    "Rejection",
    "RequestIdInUse",
    "Result",
    "RetryPolicy",
    "SavedResult",
    "ServerFault",
    "Stop",
    "StoreUnavailable",
    "Subscription",
    "TakenOver",
    "TextChanged",
    "Unauthorized",
    "Unavailable",
    "VersionMismatch",
    "Watch",
    "WorkConnection",
    "WorkStatistics",
    "error_of",
]
