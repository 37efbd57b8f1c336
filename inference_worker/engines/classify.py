"""Which class of failure an exception, or the end of a process, stands for.  Pure.

Known are classes by their names, so that no library is imported for them, the sentences with which
CUDA, ROCm and the libraries on top of them say the same, and the status of an HTTP answer.
"""

import datetime
import errno
import re
import signal
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from client_sdk.wire.failures import OF_EXCEPTIONS, FailureType, type_of_status

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
#: Exceptions that these sentences come in; a handler's own may quote anything.
_OF_DEVICES = ("RuntimeError", "AcceleratorError", "XlaRuntimeError", "Fail", "RuntimeException")


def type_of_exception(error: BaseException) -> FailureType:
    """Return the type of failure that an exception of a user's code stands for."""
    names = [kind.__name__ for kind in type(error).__mro__]
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return FailureType.OOM
    if any(name in _OF_DEVICES for name in names):
        sentence = _sentence(error)
        # First: CUDA also says "CUDA error: out of memory", which leaves the device as it was.
        if _OUT_OF_MEMORY.search(sentence):
            return FailureType.OOM
        if "AcceleratorError" in names or _DEVICE_LOST.search(sentence):
            return FailureType.GPU_LOST
    if status := _status_of(error):
        found = type_of_status(status)
        # A server that the handler asks refuses what the handler has made of the input.
        return FailureType.INTERNAL if found is FailureType.BAD_INPUT else found
    return next((OF_EXCEPTIONS[name] for name in names if name in OF_EXCEPTIONS), _INTERNAL)


_INTERNAL = FailureType.INTERNAL


def type_of_exit(code: int | None, *, was_short_of_memory: bool) -> FailureType:
    """Return the type of failure of the jobs whose process ended.

    code: the exit code, negative for a signal, as Python has it; a shell says 128 more than it.
    was_short_of_memory: the kernel has killed for memory while the process lived.
    """
    is_killed = code in (-signal.SIGKILL, 128 + signal.SIGKILL)
    return FailureType.OOM if is_killed and was_short_of_memory else FailureType.ENGINE_LOST


def asked_wait_s(error: BaseException) -> float | None:
    """Return the `Retry-After` of the answer that an exception carries, in seconds."""
    headers = getattr(getattr(error, "response", None), "headers", None)
    headers = getattr(error, "headers", None) if headers is None else headers
    said = headers.get("Retry-After") if isinstance(headers, Mapping) else None
    return read_retry_after(said, now=time.time()) if isinstance(said, str) else None


def read_retry_after(said: str, *, now: float) -> float | None:
    """Read a `Retry-After`: seconds, or a date, as seconds from now; None when it says neither."""
    text = said.strip()
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


def _status_of(error: BaseException) -> int | None:
    """Return the status of the HTTP answer that an exception of a client tells of."""
    for told in (error, getattr(error, "response", None)):
        for name in ("status_code", "status", "code"):
            status = getattr(told, name, None)
            if isinstance(status, int) and not isinstance(status, bool) and 400 <= status <= 599:
                return status
    return None
