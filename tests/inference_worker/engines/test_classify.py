"""The failure type of an exception, an exit code or a header."""

import email.utils
import errno
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest

from client_sdk.wire.failures import FailureType
from inference_worker.engines.classify import (
    asked_wait_s,
    read_retry_after,
    type_of_exception,
    type_of_exit,
)
from inference_worker.engines.failures import BadInput, Retryable, failure_of
from inference_worker.oom_kills import oom_kills

OOM, GPU_LOST = FailureType.OOM, FailureType.GPU_LOST
INTERNAL, TRANSIENT, TIMEOUT = FailureType.INTERNAL, FailureType.TRANSIENT, FailureType.TIMEOUT


class OutOfMemoryError(RuntimeError):
    """As torch names it, on every kind of device."""


class AcceleratorError(RuntimeError):
    """As torch 2.8 names every error of a device."""


class HTTPError(Exception):
    """As clients of HTTP raise it: with the answer."""

    def __init__(self, status: int, **headers: str) -> None:
        super().__init__(f"{status}")
        self.response = SimpleNamespace(status_code=status, headers=headers)


class ReadTimeout(Exception):
    """As httpx and requests name it."""


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), OOM),
        (OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), OOM),
        (RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB"), OOM),
        (RuntimeError("CUDA error: out of memory"), OOM),
        (AcceleratorError("CUDA error: out of memory"), OOM),
        (RuntimeError("MPS backend out of memory"), OOM),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), OOM),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), OOM),
        (RuntimeError("std::bad_alloc"), OOM),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), OOM),
        (AcceleratorError("CUDA error: device-side assert triggered"), GPU_LOST),
        (RuntimeError("CUDA error: device-side assert triggered"), GPU_LOST),
        (RuntimeError("CUDA error: unspecified launch failure"), GPU_LOST),
        (RuntimeError("an uncorrectable ECC error was encountered"), GPU_LOST),
        (RuntimeError("an illegal memory access was encountered"), GPU_LOST),
        (RuntimeError("NVRM: Xid (PCI:0000:01:00): 79"), GPU_LOST),
        (RuntimeError("HIP error: invalid device function"), GPU_LOST),
        (RuntimeError("GPU is lost.  Reboot the system to recover this GPU"), GPU_LOST),
        (TimeoutError(), TIMEOUT),
        (TimeoutError("timed out"), TIMEOUT),
        (ReadTimeout(), TIMEOUT),
        (HTTPError(504), TIMEOUT),
        (ConnectionResetError(), TRANSIENT),
        (ConnectionRefusedError(), TRANSIENT),
        (BrokenPipeError(), TRANSIENT),
        (socket.gaierror(-3, "Temporary failure in name resolution"), TRANSIENT),
        (HTTPError(503), TRANSIENT),
        (HTTPError(429), TRANSIENT),
        # What the handler asked of another server is no input of the client's.
        (HTTPError(400), INTERNAL),
        (HTTPError(401), INTERNAL),
        (KeyError("x"), INTERNAL),
        (ValueError("the user wrote: CUDA out of memory"), INTERNAL),
        (ValueError("Xid 79"), INTERNAL),
        (FileNotFoundError("model.bin"), INTERNAL),
    ],
)
def test_an_exception_has_a_type(error: BaseException, expected: FailureType) -> None:
    assert type_of_exception(error) is expected
    assert failure_of(error).kind is expected


def test_an_exception_whose_text_cannot_be_read_has_a_type() -> None:
    class Mute(RuntimeError):
        def __str__(self) -> str:
            raise ValueError

    assert type_of_exception(Mute()) is INTERNAL


@pytest.mark.parametrize(
    ("code", "short", "expected"),
    [
        (-9, True, OOM),
        (137, True, OOM),
        (-9, False, FailureType.ENGINE_LOST),
        (137, False, FailureType.ENGINE_LOST),
        (-11, True, FailureType.ENGINE_LOST),
        (1, True, FailureType.ENGINE_LOST),
        (0, False, FailureType.ENGINE_LOST),
        (None, True, FailureType.ENGINE_LOST),
    ],
)
def test_the_end_of_a_process_has_a_type(
    code: int | None, short: bool, expected: FailureType
) -> None:
    assert type_of_exit(code, was_short_of_memory=short) is expected


@pytest.mark.parametrize(
    ("said", "expected_s"),
    [
        ("120", 120.0),
        (" 0 ", 0.0),
        (email.utils.formatdate(1_000_090, usegmt=True), 90.0),
        (email.utils.formatdate(999_000, usegmt=True), 0.0),
        ("Thursday, 01-Jan-70 00:00:10 GMT", 0.0),
        ("soon", None),
        ("", None),
        ("-5", None),
        ("1" * 400, None),
        ("\u0665", None),
        ("Mon, 99 Foo 9999 99:99:99 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(said: str, expected_s: float | None) -> None:
    assert read_retry_after(said, now=1_000_000.0) == expected_s


def test_the_wait_of_an_answer_that_an_exception_carries_becomes_the_pause() -> None:
    error = HTTPError(503, **{"Retry-After": "17"})
    assert asked_wait_s(error) == 17.0
    assert failure_of(error).after_s == 17.0
    assert failure_of(error).is_busy
    assert not failure_of(HTTPError(500)).is_busy
    assert asked_wait_s(KeyError("x")) is None


def test_a_handler_says_for_how_long_a_job_pauses() -> None:
    failed = failure_of(Retryable("later", code="Warming", after_s=2))
    assert (failed.kind, failed.code, failed.after_s) == (TRANSIENT, "Warming", 2.0)
    assert failure_of(Retryable()).after_s is None
    assert failure_of(BadInput("no")).kind is FailureType.BAD_INPUT


def test_kills_for_memory_are_counted_in_the_own_group_or_else_in_the_machine(
    tmp_path: Path,
) -> None:
    def write(path: str, text: str) -> None:
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    assert oom_kills(tmp_path) == 0
    write("proc/vmstat", "pgfault 9\noom_kill 4\n")
    assert oom_kills(tmp_path) == 4
    write("proc/self/cgroup", "0::/jobs/a\n")
    write("sys/fs/cgroup/jobs/a/memory.events", "oom 3\noom_kill 2\noom_group_kill 7\n")
    assert oom_kills(tmp_path) == 2
    write("proc/self/cgroup", "4:cpu,memory:/b\n1:cpu:/c\n")
    write("sys/fs/cgroup/memory/b/memory.oom_control", "under_oom 0\noom_kill 1\n")
    assert oom_kills(tmp_path) == 1
