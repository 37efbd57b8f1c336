"""The kill matrix.

    python -m tests.faults [--seed N] [--minutes 15] [--write docs/reliability.md]

Prints the seed first, with which the same faults come in the same order, and a table last.  The
exit status is 1 when any rule was broken.
"""

import argparse
import asyncio
import os
import platform
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.faults.cells import plan
from tests.faults.cluster import Cluster, Shape, cpu_count
from tests.faults.report import Report
from tests.faults.round import run_round

#: Violations that are printed in full.
MOST_PRINTED = 20


async def run_matrix(seed: int, minutes: float, folder: Path) -> Report:
    """Go through all rounds, on one cluster."""
    report = Report()
    cluster = Cluster(folder, Shape(seed=seed))
    try:
        await cluster.start()
        for planned in plan(seed, minutes=minutes, with_clock=cluster.redis.has_clock):
            began = time.monotonic()
            outcome = await run_round(cluster, planned)
            report.add(outcome)
            print(
                f"round {planned.number}, {planned.load}: {len(outcome.injuries)} faults, "
                f"{outcome.verdict.accepted:,} jobs, {len(outcome.violations)} rules broken, "
                f"{time.monotonic() - began:.0f} s",
                flush=True,
            )
            if outcome.violations:
                for violation in outcome.violations[:MOST_PRINTED]:
                    print(f"  {violation}", flush=True)
                # What follows would stand on what is broken.
                break
            shutil.rmtree(cluster.round_folder)
    finally:
        await cluster.stop()
    return report


def _page(report: Report, seed: int, minutes: float, spent_s: float) -> str:
    clock = (
        ""
        if any(cell.fault == "clock forward and back" for cell in report.cells)
        else ("The clock was not moved: no C compiler was there to build what moves it.\n")
    )
    return "\n".join(
        [
            f"{report.faults} faults and {report.accepted:,} jobs in {spent_s / 60:.0f} minutes, "
            f"with `python -m tests.faults --seed {seed} --minutes {minutes:g}`, on "
            f"{cpu_count()} cores, {platform.system()} {platform.machine()}, "
            f"Python {platform.python_version()}. Lease 3 s.",
            "",
            *report.by_load(),
            "",
            *report.by_cell(),
            "",
            *report.notes(),
            clock,
            f"**{report.last_line()}**",
        ]
    )


def _write(path: Path, text: str) -> None:
    begin, end = "<!-- matrix -->", "<!-- end matrix -->"
    page = path.read_text()
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.faults", description="The kill matrix.")
    parser.add_argument("--seed", type=int, default=None, help="repeat the faults of a run")
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--write", type=Path, help="the page whose table to replace")
    parser.add_argument("--keep", type=Path, help="keep the journals and logs in this folder")
    given = parser.parse_args()
    seed = random.SystemRandom().getrandbits(32) if given.seed is None else given.seed
    print(f"seed {seed}", flush=True)
    began = time.monotonic()
    folder = given.keep or Path(tempfile.mkdtemp(prefix="penstock-faults-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        report = asyncio.run(run_matrix(seed, given.minutes, folder))
    finally:
        if given.keep is None and os.environ.get("FAULTS_KEEP") != "1":
            shutil.rmtree(folder, ignore_errors=True)
    page = _page(report, seed, given.minutes, time.monotonic() - began)
    if given.write and not report.violations:
        _write(given.write, page)
    print(f"\n{page}".replace("**", ""), flush=True)
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main())
