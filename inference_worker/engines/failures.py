"""Exceptions for handlers, and the failure that any exception of a handler becomes."""

from client_sdk.wire.failures import FailureType
from inference_worker.engines.classify import (
    BUSY_STATUSES,
    asked_wait_s,
    status_of,
    type_of_exception,
)
from inference_worker.engines.engine import BAD_INPUT, DEVICE_LOST, RESULT_TOO_BIG, Failed
from inference_worker.engines.locate import last_line, sentence_of
from inference_worker.engines.tracebacks import log_raised

#: The longest code of a failure, in characters.
MAX_CODE_LENGTH = 64


class BadInput(Exception):
    """Raise it in a handler for an invalid input.  The client gets the error at once, no retry."""

    code = BAD_INPUT


class TooBig(Exception):
    """The result is larger than any sink's limit; a retry would not make it smaller."""


class Retryable(Exception):
    """Raise it in a handler if another attempt may succeed.

    code: the error code that the client gets if all attempts fail.
    after_s: the pause before the next attempt, in seconds, at most an hour; by default the retry
    policy decides.
    """

    def __init__(
        self, message: str = "", *, code: str = "Retryable", after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.after_s = None if after_s is None else float(after_s)
        # A number is accepted too.  Cut, because a long code is a message in the wrong place.
        self.code = str(code)[:MAX_CODE_LENGTH]


def failure_of(error: BaseException) -> Failed:
    """Return the failure of a job whose handler raised this exception."""
    match error:
        case BadInput():
            return Failed(BAD_INPUT, sentence_of(error) or "the input was refused", retryable=False)
        case TooBig():
            return Failed(RESULT_TOO_BIG, sentence_of(error), retryable=False)
        case Retryable():
            code = getattr(error, "code", "Retryable")
            return Failed(
                str(code),
                sentence_of(error) or "another attempt may succeed",
                type=FailureType.TRANSIENT,
                after_s=getattr(error, "after_s", None),
            )
        case _:
            log_raised(error)
            kind = type_of_exception(error)
            # After a device error every later call fails too, until the process is replaced.
            code = DEVICE_LOST if kind is FailureType.GPU_LOST else type(error).__name__
            return Failed(
                code,
                last_line(error),
                type=kind,
                after_s=asked_wait_s(error),
                is_busy=status_of(error) in BUSY_STATUSES,
            )
