"""The kill matrix.

    python -m tests.faults [--seed N] [--minutes 18] [--write docs/reliability.md]
    python -m tests.faults --only scale --minutes 3 --no-recovery
    python -m tests.faults --only-recovery

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

from tests.faults.cells import cells, plan
from tests.faults.cluster import Cluster, Shape, cpu_count
from tests.faults.recovering import HEADER, LEASE_S, measure
from tests.faults.report import Report
from tests.faults.round import run_round

#: Minutes of a run in which recovery with the default lease is measured.
RECOVERY_MIN = 4.0
#: Violations that are printed in full.
MOST_PRINTED = 20


async def run_matrix(seed: int, minutes: float, folder: Path, *, only: str = "") -> Report:
    """Go through all rounds, on one cluster."""
    cluster = Cluster(folder, Shape(seed=seed))
    report = Report(has_clock=cluster.redis.has_clock)
    try:
        await cluster.start()
        for planned in plan(seed, minutes=minutes, with_clock=cluster.redis.has_clock, only=only):
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


def _page(report: Report, recovery: list[str], command: str, spent_s: float) -> str:
    return "\n".join(
        [
            f"{report.faults} faults and {report.accepted:,} jobs in {spent_s / 60:.0f} minutes, "
            f"on {time.strftime('%Y-%m-%d')}, on {cpu_count()} cores of {platform.system()} "
            f"{platform.machine()}, load {os.getloadavg()[2]:.1f} at the end, Python "
            f"{platform.python_version()}, lease {Shape().lease_s:g} s, by",
            "",
            f"    {command}",
            "",
            *report.by_load(),
            "",
            *report.by_team(),
            "",
            *report.by_file(),
            "",
            *report.by_scaling(),
            "",
            *report.by_cell(),
            "",
            *report.notes(),
            "",
            *recovery,
            f"**{report.last_line()}**",
        ]
    )


def _recovery(folder: Path, seed: int, report: Report) -> list[str]:
    """Measure with the default lease; what breaks a rule there counts like anything else."""
    folder.mkdir()
    measured, violations = asyncio.run(measure(folder, seed=seed))
    report.violations += violations
    for violation in violations[:MOST_PRINTED]:
        print(f"  {violation}", flush=True)
    title = f"With the default lease of {LEASE_S:g} s, under a steady load:"
    return [title, "", *HEADER, *(one.row() for one in measured), ""]


def _write(path: Path, text: str) -> None:
    begin, end = "<!-- matrix -->", "<!-- end matrix -->"
    page = path.read_text()
    before, _, rest = page.partition(begin)
    _, _, after = rest.partition(end)
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.faults", description="The kill matrix.")
    parser.add_argument("--seed", type=int, default=None, help="repeat the faults of a run")
    parser.add_argument("--minutes", type=float, default=18.0)
    parser.add_argument("--only", default="", help="the faults whose name contains this")
    parser.add_argument("--no-recovery", action="store_true", help="leave those figures out")
    parser.add_argument("--only-recovery", action="store_true", help="make nothing but those")
    parser.add_argument("--write", type=Path, help="the page whose table to replace")
    parser.add_argument("--keep", type=Path, help="keep the journals and logs in this folder")
    given = parser.parse_args()
    if not any(given.only in str(cell) for cell in cells()):
        parser.error(f"--only: expected a part of a fault's name, such as scale, got {given.only}")
    seed = random.SystemRandom().getrandbits(32) if given.seed is None else given.seed
    print(f"seed {seed}", flush=True)
    began = time.monotonic()
    folder = given.keep or Path(tempfile.mkdtemp(prefix="penstock-faults-"))
    folder.mkdir(parents=True, exist_ok=True)
    recovery_min = 0.0 if given.no_recovery else RECOVERY_MIN

    def tell(report: Report, recovery: list[str]) -> None:
        command = f"python -m tests.faults --seed {seed} --minutes {given.minutes:g}"
        command += f" --only {given.only}" if given.only else ""
        page = _page(report, recovery, command, time.monotonic() - began)
        if given.write and not report.violations:
            _write(given.write, page)
        print(f"\n{page}".replace("**", ""), flush=True)

    try:
        if given.only_recovery:
            report = Report(has_clock=False)
            print("\n".join(_recovery(folder / "recovery", seed, report)), flush=True)
            return 1 if report.violations else 0
        report = asyncio.run(
            run_matrix(seed, given.minutes - recovery_min, folder, only=given.only)
        )
        tell(report, [])
        if not report.violations and not given.no_recovery:
            tell(report, _recovery(folder / "recovery", seed, report))
    finally:
        if given.keep is None:
            shutil.rmtree(folder, ignore_errors=True)
    return 1 if report.violations else 0


if __name__ == "__main__":
    sys.exit(main())
