"""Run the benchmarks whose ratios the README states, one after the other."""

import argparse

import uvloop

from tests.benchmarks import bench_jobs, bench_puts

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    uvloop.run(bench_puts.measure(rounds, 20_000))
    print()
    uvloop.run(bench_jobs.measure(rounds, 20_000))
