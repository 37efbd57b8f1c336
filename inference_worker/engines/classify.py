"""From an exception, or the exit of a process, to a type of failure.  Pure.

It knows exception classes by name, so that no library is imported, the messages of CUDA, ROCm and
libraries on top of them, and the status of an HTTP response.
"""

import datetime
import errno
import re
import signal
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from client_sdk.wire.failures import OF_EXCEPTIONS, FailureType, type_of_status

#: HTTP statuses of an overloaded server.
BUSY_STATUSES = (429, 503)

_OUT_OF_MEMORY = re.compile(
    r"out of memory|cudaErrorMemoryAllocation|CU(?:BLAS|DNN|SOLVER|FFT)_STATUS_ALLOC_FAILED|"
    r"can't allocate memory|not enough memory|RESOURCE_EXHAUSTED|Cannot allocate memory|"
    r"Failed to allocate memory|std::bad_alloc",
    re.IGNORECASE,
)
_DEVICE_LOST = re.compile(
    r"^(?:CUDA|HIP) (?:driver )?error|device-side assert|unspecified launch failure|"
    r"uncorrectable (?:NVLink |memory |ECC )|\bXid\b|illegal memory access|illegal instruction was|"
    r"misaligned address|fallen off the bus|GPU is lost|device (?:is|was) lost|"
    r"cudaError(?:IllegalAddress|LaunchFailure|Assert|ECCUncorrectable|DevicesUnavailable)|"
    r"NCCL error: unhandled cuda error",
    re.IGNORECASE,
)
#: The messages count only in these classes; the text of other exceptions may quote anything.
_OF_DEVICES = ("RuntimeError", "AcceleratorError", "XlaRuntimeError", "Fail", "RuntimeException")


def type_of_exception(error: BaseException) -> FailureType:
    """Return the failure type of an exception of the user's code."""
    names = [kind.__name__ for kind in type(error).__mro__]
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return FailureType.OOM
    if any(name in _OF_DEVICES for name in names):
        sentence = _sentence(error)
        # Checked first: after "CUDA error: out of memory" the device still works.
        if _OUT_OF_MEMORY.search(sentence):
            return FailureType.OOM
        if "AcceleratorError" in names or _DEVICE_LOST.search(sentence):
            return FailureType.GPU_LOST
    if status := status_of(error):
        found = type_of_status(status)
        # The handler's own request to another server was bad; the job's input need not be.
        return FailureType.INTERNAL if found is FailureType.BAD_INPUT else found
    return next((OF_EXCEPTIONS[name] for name in names if name in OF_EXCEPTIONS), _INTERNAL)


_INTERNAL = FailureType.INTERNAL


def type_of_exit(code: int | None, *, was_short_of_memory: bool) -> FailureType:
    """Return the failure type of the jobs whose process ended.

    code: the exit code; minus the signal's number, as in Python, or 128 plus it, as in a shell.
    was_short_of_memory: the OOM killer has killed a process while this one was alive.
    """
    is_killed = code in (-signal.SIGKILL, 128 + signal.SIGKILL)
    return FailureType.OOM if is_killed and was_short_of_memory else FailureType.ENGINE_LOST


def asked_wait_s(error: BaseException) -> float | None:
    """Return the `Retry-After` header of the response in an exception, in seconds."""
    headers = getattr(getattr(error, "response", None), "headers", None)
    headers = getattr(error, "headers", None) if headers is None else headers
    value = headers.get("Retry-After") if isinstance(headers, Mapping) else None
    return read_retry_after(value, now=time.time()) if isinstance(value, str) else None


def read_retry_after(value: str, *, now: float) -> float | None:
    """Parse a `Retry-After` (seconds or a date) into seconds from now; None if it is invalid."""
    text = value.strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return max(0.0, moment.timestamp() - now)


def _sentence(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:
        return ""


def status_of(error: BaseException) -> int | None:
    """Return the HTTP status in an exception of an HTTP client."""
    for holder in (error, getattr(error, "response", None)):
        for name in ("status_code", "status", "code"):
            status = getattr(holder, name, None)
            if isinstance(status, int) and not isinstance(status, bool) and 400 <= status <= 599:
                return status
    return None
