"""Run the benchmarks whose ratios docs/performance.md states, one after the other.

Those with a language model are for those who have torch installed; the others go without.
"""

import argparse
import importlib.util

import uvloop

from tests.benchmarks import bench_jobs, bench_puts

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    uvloop.run(bench_puts.measure(rounds, 20_000))
    print()
    uvloop.run(bench_jobs.measure(rounds, 20_000))
    if all(importlib.util.find_spec(name) for name in ("torch", "transformers")):
        # Only here, because it imports both of them.
        from tests.benchmarks import bench_generation_queue

        print()
        uvloop.run(bench_generation_queue.measure(rounds, bench_generation_queue.WAVES))
