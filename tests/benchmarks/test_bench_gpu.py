"""The GPU benchmark where there is no GPU: its sums, and what it says."""

import importlib.util
import os
import subprocess
import sys

import pytest

from tests.benchmarks.bench_generation_gpu import (
    SIZES,
    most_tokens_per_s,
    parameters_of,
    show,
)


def test_the_sizes_are_what_their_names_say() -> None:
    for billions, size in SIZES.items():
        assert 0.8 < parameters_of(size) / (billions * 1e9) < 1.4


def test_one_reading_of_the_weights_is_the_floor_under_a_step() -> None:
    # 2 GB at 1000 GB/s: 2 ms for each reading.
    assert most_tokens_per_s(2 * 10**9, 1e12, [100] * 16, together=True) == 8000
    assert most_tokens_per_s(2 * 10**9, 1e12, [100] * 16, together=False) == 500
    # The longest decides: the others have left by then.
    assert most_tokens_per_s(2 * 10**9, 1e12, [100, 50], together=True) == 750


def test_the_table_shows_what_part_of_the_floor_is_reached(
    capsys: pytest.CaptureFixture[str],
) -> None:
    show({"one by one": [250.0], "ours": [4000.0]}, [100] * 16, 2 * 10**9, 1e12)
    out = capsys.readouterr().out
    assert "2.00 GB of weights, 1000 GB/s: 2.00 ms a step" in out
    assert "8000      50%" in out


def test_without_a_gpu_it_says_so_and_measures_nothing() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.bench_generation_gpu"],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert run.returncode == 1
    assert run.stderr.startswith("bench_generation_gpu: t")
    assert run.stderr.count("\n") == 1


@pytest.mark.timeout(700)
def test_with_a_tiny_model_all_of_it_runs_where_there_is_no_gpu() -> None:
    for module in ("torch", "transformers"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed (extra `transformers`)")
    run = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.bench_generation_gpu", "--smoke"],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    ways = ["one by one", "round robin", "static batch", "continuous", "paged runner", "ours"]
    for way in ways:
        # In float32 every way gives the very same tokens.
        assert f"{way}: 16 of 16 answers are those of one by one" in run.stdout, run.stdout
    table = run.stdout.splitlines()[-len(ways) :]
    assert [line[:14].strip() for line in table] == ways
