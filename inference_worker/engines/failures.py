"""What a user's code raises, and the failure that it becomes."""

from client_sdk.wire.failures import FailureType
from inference_worker.engines.classify import asked_wait_s, type_of_exception
from inference_worker.engines.engine import BAD_INPUT, DEVICE_LOST, RESULT_TOO_BIG, Failed
from inference_worker.engines.locate import last_line, sentence_of
from inference_worker.engines.tracebacks import log_raised

#: The longest code of a failure, in characters.
MAX_CODE_LENGTH = 64


class BadInput(Exception):
    """Raised by a handler: this input can never succeed.  The client is answered at once."""

    code = BAD_INPUT


class TooBig(Exception):
    """The result is larger than any sink takes, and another attempt makes none that is smaller."""


class Retryable(Exception):
    """Raised by a handler: another attempt may succeed.

    code: the machine word that the client sees should every attempt fail.
    after_s: how long the job waits before its next attempt, in seconds, at most an hour; by default
    as long as the retry policy says.
    """

    def __init__(
        self, message: str = "", *, code: str = "Retryable", after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.after_s = None if after_s is None else float(after_s)
        # A number is as good; what is longer is no word that a program would look for.
        self.code = str(code)[:MAX_CODE_LENGTH]


def failure_of(error: BaseException) -> Failed:
    """Return what this exception of a user's code means for its job."""
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
            # After an error of the device every later call fails too, until the process ends.
            code = DEVICE_LOST if kind is FailureType.GPU_LOST else type(error).__name__
            return Failed(code, last_line(error), type=kind, after_s=asked_wait_s(error))
