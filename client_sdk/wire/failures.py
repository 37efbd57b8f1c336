"""The types of failures: the value of `error.type` in every API.

A failure has a code, which names it exactly (`BadInput`, `KeyError`, `503`), and a type, which says
what to do about it.  A worker sends the type if it knows more than the code; otherwise the type is
derived from the code.  Pure.
"""

from collections.abc import Mapping
from enum import StrEnum

from client_sdk.wire import codes


class FailureType(StrEnum):
    """Why an attempt failed, as far as it matters for the next one."""

    BAD_INPUT = "bad_input"  # the same input would fail again
    TRANSIENT = "transient"  # the same job may succeed a moment later
    OOM = "oom"  # out of memory
    ENGINE_LOST = "engine_lost"  # the engine's process, or its worker, ended during the job
    GPU_LOST = "gpu_lost"  # the device failed and cannot be used any more
    TIMEOUT = "timeout"  # it exceeded a time limit
    INTERNAL = "internal"  # everything else: fix the code or the configuration


#: The codes of Penstock's own failures.
OF_CODES: Mapping[str, FailureType] = {
    "BadInput": FailureType.BAD_INPUT,
    "Retryable": FailureType.TRANSIENT,
    "UpstreamDown": FailureType.TRANSIENT,
    codes.SHUTDOWN: FailureType.TRANSIENT,
    codes.ENGINE_DIED: FailureType.ENGINE_LOST,
    "WorkerLost": FailureType.ENGINE_LOST,
    "PoisonJob": FailureType.ENGINE_LOST,
    "DeviceLost": FailureType.GPU_LOST,
    "RunTimeout": FailureType.TIMEOUT,
    "MaxIdle": FailureType.TIMEOUT,
    "Expired": FailureType.TIMEOUT,
    "UpstreamTimeout": FailureType.TIMEOUT,
}

#: Classes of exceptions, by the last part of their names: those of Python, torch and HTTP clients.
OF_EXCEPTIONS: Mapping[str, FailureType] = {
    "MemoryError": FailureType.OOM,
    "OutOfMemoryError": FailureType.OOM,
    "AcceleratorError": FailureType.GPU_LOST,
    "TimeoutError": FailureType.TIMEOUT,
    "Timeout": FailureType.TIMEOUT,
    "ReadTimeout": FailureType.TIMEOUT,
    "WriteTimeout": FailureType.TIMEOUT,
    "PoolTimeout": FailureType.TIMEOUT,
    "ConnectTimeout": FailureType.TIMEOUT,
    "TimeoutException": FailureType.TIMEOUT,
    "APITimeoutError": FailureType.TIMEOUT,
    "ServerTimeoutError": FailureType.TIMEOUT,
    "ConnectionError": FailureType.TRANSIENT,
    "ConnectionResetError": FailureType.TRANSIENT,
    "ConnectionRefusedError": FailureType.TRANSIENT,
    "ConnectionAbortedError": FailureType.TRANSIENT,
    "BrokenPipeError": FailureType.TRANSIENT,
    "ConnectError": FailureType.TRANSIENT,
    "ReadError": FailureType.TRANSIENT,
    "WriteError": FailureType.TRANSIENT,
    "RemoteProtocolError": FailureType.TRANSIENT,
    "RemoteDisconnected": FailureType.TRANSIENT,
    "IncompleteRead": FailureType.TRANSIENT,
    "ClientConnectionError": FailureType.TRANSIENT,
    "ClientPayloadError": FailureType.TRANSIENT,
    "APIConnectionError": FailureType.TRANSIENT,
    "gaierror": FailureType.TRANSIENT,
}

_OF_STATUSES: Mapping[int, FailureType] = {
    **dict.fromkeys((400, 404, 405, 409, 410, 411, 413, 414, 415, 422), FailureType.BAD_INPUT),
    # The operator must fix these: the client's input is not the cause, and a retry does not help.
    **dict.fromkeys((401, 402, 403, 407, 501), FailureType.INTERNAL),
    **dict.fromkeys((408, 425, 429), FailureType.TRANSIENT),
    504: FailureType.TIMEOUT,
}


def type_of_status(status: int) -> FailureType:
    """Return the failure type for an HTTP status."""
    if found := _OF_STATUSES.get(status):
        return found
    if 500 <= status <= 599:
        return FailureType.TRANSIENT
    return FailureType.BAD_INPUT if 400 <= status <= 499 else FailureType.INTERNAL


def type_of_code(code: str) -> FailureType:
    """Return the type for a code: Penstock's own, an HTTP status, or an exception's name."""
    if code.isascii() and code.isdigit() and len(code) == 3:
        return type_of_status(int(code))
    return OF_CODES.get(code) or OF_EXCEPTIONS.get(code) or FailureType.INTERNAL


def type_named(name: str, code: str) -> FailureType:
    """Return the type of this name; older workers send none, then it is derived from the code."""
    return FailureType(name) if name in list(FailureType) else type_of_code(code)
