"""The probe against stub libraries that work, fail, hang, crash and are not there."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from inference_worker.gpu import prober
from inference_worker.gpu.prober import Prober
from inference_worker.gpu.reading import Cause
from tests.gpus import COMPILER, GIB, StubLibraries, uuid

pytestmark = pytest.mark.skipif(COMPILER is None, reason="there is no C compiler")


@pytest.fixture
def libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StubLibraries:
    libraries = StubLibraries(tmp_path)
    monkeypatch.setenv("LD_LIBRARY_PATH", str(libraries.path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    # A busy machine may need longer than a driver may.
    monkeypatch.setattr(prober, "QUICK_LIMIT_S", 5.0)
    return libraries


@pytest.fixture
async def probing() -> AsyncIterator[Prober]:
    probing = Prober()
    probing.uuids = (uuid(0), uuid(1))
    yield probing
    await probing.close()


async def test_gpus_that_work_have_numbers(libraries: StubLibraries, probing: Prober) -> None:
    libraries.use(3 * GIB)
    for reading in (await probing.complete(), await probing.quick(), await probing.quick()):
        assert (reading.cause, reading.fault) == (Cause.NONE, "")
        assert (reading.used_bytes, reading.total_bytes) == (6 * GIB, 160 * GIB)
        assert reading.utilization == 0.37


async def test_a_driver_that_does_not_fit_is_found_although_nvml_works(
    libraries: StubLibraries, probing: Prober
) -> None:
    libraries.set("cuda", 803)
    reading = await probing.complete()
    assert reading.cause is Cause.CUDA
    assert "cuInit failed with 803 (the driver and the CUDA library do not fit" in reading.fault
    assert not (await probing.quick()).cause


async def test_a_lost_gpu_is_found_and_so_is_its_return(
    libraries: StubLibraries, probing: Prober, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not (await probing.quick()).cause
    libraries.set("nvml", 15)
    reading = await probing.quick()
    assert reading.cause is Cause.NVML
    assert "nvmlDeviceGetMemoryInfo failed with 15 (a stub's error)" in reading.fault
    assert (await probing.quick()).cause is Cause.NVML
    libraries.set("nvml", 0)
    assert not (await probing.quick()).cause
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert "expected 2 GPUs, it sees 1" in (await probing.complete()).fault


async def test_only_new_xid_errors_are_reported_and_each_once(
    libraries: StubLibraries, probing: Prober
) -> None:
    libraries.report_xid(79)
    assert (await probing.quick()).xids == ()
    libraries.report_xid(13)
    libraries.report_xid(48)
    assert (await probing.quick()).xids == (13, 48)
    assert (await probing.quick()).xids == ()


@pytest.mark.parametrize("library", ["cuda", "nvml"])
async def test_a_library_that_crashes_takes_only_the_probe_with_it(
    libraries: StubLibraries, probing: Prober, library: str
) -> None:
    libraries.set(library, "crash")
    reading = await probing.complete()
    assert reading.cause is Cause.PROBE
    assert "ended with" in reading.fault
    libraries.set(library, 0)
    assert not (await probing.complete()).cause


async def test_a_library_that_hangs_is_not_waited_for(
    libraries: StubLibraries, probing: Prober, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not (await probing.quick()).cause
    monkeypatch.setattr(prober, "QUICK_LIMIT_S", 0.05)
    monkeypatch.setattr(prober, "COMPLETE_LIMIT_S", 0.5)
    libraries.set("nvml", "hang")
    libraries.set("cuda", "hang")
    assert (await probing.quick()).cause is Cause.SILENT
    assert (await probing.quick()).cause is Cause.SILENT, "its late answer is still awaited"
    assert (await probing.complete()).cause is Cause.SILENT
    # The silent process is replaced, and the next one answers.
    monkeypatch.setattr(prober, "STUCK_S", 0.0)
    assert (await probing.quick()).cause is Cause.SILENT
    libraries.set("nvml", 0)
    assert not (await probing.quick()).cause


async def test_libraries_that_are_not_there_are_named(
    probing: Prober, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    assert "libcuda.so.1 cannot be loaded" in (await probing.complete()).fault
    assert "libnvidia-ml.so.1 cannot be loaded" in (await probing.quick()).fault
