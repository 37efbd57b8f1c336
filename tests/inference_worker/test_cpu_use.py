"""How much of its CPUs a worker uses, with its children."""

import multiprocessing
import os
from pathlib import Path

import pytest

from inference_worker.cpu_use import CpuUse, available_cpus
from tests.waiting import wait_until_blocking


def _burn() -> None:
    while True:
        pass


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="not Linux")
def test_the_work_of_a_child_counts() -> None:
    use = CpuUse()
    child = multiprocessing.get_context("spawn").Process(target=_burn, daemon=True)
    child.start()
    try:
        wait_until_blocking(lambda: (use.percent() or 0) > 0, "the work of the child is seen")
        assert (use.percent() or 0) <= 100
    finally:
        child.kill()
        child.join()


@pytest.mark.parametrize(
    ("text", "cpus"),
    [("50000 100000\n", 0.5), ("max 100000\n", None), ("", None), ("many\n", None)],
)
def test_the_limit_of_a_container_counts(tmp_path: Path, text: str, cpus: float | None) -> None:
    limit = tmp_path / "cpu.max"
    limit.write_text(text)
    assert available_cpus(limit) == (cpus or len(os.sched_getaffinity(0)))
