"""The error in the result of a failed job."""

from dataclasses import dataclass

from client_sdk.wire import names
from client_sdk.wire.failures import FailureType, type_named
from client_sdk.wire.frame import Frame


@dataclass(frozen=True, slots=True)
class JobError:
    """Why a job failed.

    code: the worker's error code, such as `BadInput` or `ValueError`; "" if it gave none.
    status: the number that PAI EAS clients read, as text: 400 for a bad input, else mostly 500.
    text: the message.  type: the type of the failure; see client_sdk.wire.failures.
    """

    code: str
    status: str
    text: str
    type: FailureType = FailureType.INTERNAL


def error_of(frame: Frame) -> JobError | None:
    """Return the error of the job that this result belongs to, or None if it succeeded."""
    status = frame.tags.get(names.LAST_CODE_TAG)
    if status is None:
        return None
    code = frame.tags.get(names.ERROR_CODE_TAG, "")
    kind = type_named(frame.tags.get(names.ERROR_TYPE_TAG, ""), code or status)
    return JobError(code, status, frame.data.decode(errors="replace"), kind)
