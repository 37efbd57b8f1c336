"""From readings to the state of GPUs."""

import pytest

from client_sdk.wire.load import GpuState
from inference_worker.gpu.health import HARMLESS_XIDS, Health, after, healthy, wants_complete_look
from inference_worker.gpu.reading import Cause, Reading, read_answer, silent
from tests.gpus import GIB

FINE = Reading(used_bytes=10 * GIB, total_bytes=80 * GIB)
COMPLETE = Reading(used_bytes=10 * GIB, total_bytes=80 * GIB, complete=True)
BROKEN = Reading(Cause.CUDA, "CUDA: cuInit failed with 803", complete=True)
LOST = Reading(Cause.NVML, "NVML: GPU is lost")
WORKS = Health(baseline_bytes=10 * GIB)


def test_one_quick_failure_is_a_suspicion_and_a_complete_look_decides() -> None:
    suspect = after(WORKS, LOST)
    assert (suspect.state, suspect.reason) == (GpuState.SUSPECT, "NVML: GPU is lost")
    assert wants_complete_look(suspect)
    assert after(suspect, FINE) == suspect, "a quick look does not start CUDA"
    assert after(suspect, COMPLETE) == WORKS
    quarantined = after(suspect, BROKEN)
    assert quarantined.is_quarantined
    assert quarantined.cause is Cause.CUDA
    assert after(quarantined, COMPLETE) == quarantined, "it needs a new engine too"
    assert after(quarantined, LOST).reason == "NVML: GPU is lost"
    assert healthy(quarantined) == WORKS


@pytest.mark.parametrize("reading", [silent(0.05, complete=False), LOST])
def test_no_answer_in_time_is_a_failure(reading: Reading) -> None:
    assert after(WORKS, reading).state is GpuState.SUSPECT
    assert after(WORKS, silent(15, complete=True)).is_quarantined


@pytest.mark.parametrize(
    ("xids", "reason"),
    [
        ((79,), "Xid 79"),
        ((31, 48, 48, 119), "Xid 48, 119"),
        (tuple(HARMLESS_XIDS), ""),
        ((), ""),
    ],
)
def test_errors_that_a_program_causes_say_nothing_about_the_gpu(
    xids: tuple[int, ...], reason: str
) -> None:
    found = after(WORKS, Reading(xids=xids))
    assert found.is_quarantined is bool(reason)
    assert reason in found.reason


@pytest.mark.parametrize(
    ("used_gib", "cached_gib", "total_gib", "idle", "state"),
    [
        (17.9, 0, 80, True, GpuState.HEALTHY),  # 10 % of 80 more than after loading
        (18.1, 0, 80, True, GpuState.SUSPECT),
        (18.1, 1, 80, True, GpuState.HEALTHY),  # torch keeps it for the next job
        (18.1, 0, 80, False, GpuState.HEALTHY),  # a job uses it
        (10.9, 0, 11.5, True, GpuState.HEALTHY),
        (11.2, 0, 11.5, True, GpuState.SUSPECT),
        (11.4, 0, 11.5, True, GpuState.QUARANTINED),  # the next job would not fit
        (79, 0, 80, True, GpuState.QUARANTINED),
        (79, 0, 80, False, GpuState.HEALTHY),
    ],
)
def test_memory_has_to_return_to_what_it_was_after_loading(
    used_gib: float, cached_gib: float, total_gib: float, idle: bool, state: GpuState
) -> None:
    reading = Reading(used_bytes=int(used_gib * GIB), total_bytes=int(total_gib * GIB))
    found = after(WORKS, reading, idle=idle, cached_bytes=int(cached_gib * GIB))
    assert found.state is state
    assert (found.cause is Cause.MEMORY) is (state is not GpuState.HEALTHY)
    assert not wants_complete_look(found)


def test_memory_that_returns_later_ends_the_suspicion() -> None:
    suspect = after(WORKS, Reading(used_bytes=20 * GIB, total_bytes=80 * GIB), idle=True)
    assert after(suspect, FINE, idle=False) == suspect
    assert after(suspect, FINE, idle=True) == WORKS


def test_without_a_baseline_memory_tells_nothing() -> None:
    assert (
        after(Health(), Reading(used_bytes=79 * GIB, total_bytes=80 * GIB), idle=True) == Health()
    )


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"7", b'{"xids": 3}', b'{"cause": "odd"}'])
def test_an_answer_that_cannot_be_read_is_a_failure(line: bytes) -> None:
    reading = read_answer(line, complete=False, ended="ended with -6")
    assert reading.cause is Cause.PROBE
    assert "ended with -6" in reading.fault
