"""Shows that the matrix would find a defect: one after the other is put in, and has to be named.

    python -m tests.faults.seeded [--only TEXT]

The product is copied, the copy is given one defect, and its processes are run and hurt.  The
exit status is 1 when a defect was not found, or was found by none of the rules that name it.  A few
defects are for a test to find, which the copy then fails.
"""

import argparse
import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.faults.bugs import BUGS, Bug, put_into
from tests.faults.cells import SCALED, round_of
from tests.faults.cluster import Cluster, Shape
from tests.faults.round import Outcome, run_round

ROOT = Path(__file__).parents[2]
#: What the processes of a run need of the tree.
COPIED = ("client_sdk", "queue_service", "inference_worker", "deploy", "penstock", "tests")
#: Defects may keep a run from ever being drained, so the wait is short.
DRAIN_S = 30.0
SEED = 7
#: Arguments of pytest.
QUIETLY = ("-q", "-p", "no:randomly", "-p", "no:cacheprovider")


def copy_tree(folder: Path) -> Path:
    """Copy the product, and return where it is."""
    for name in COPIED:
        shutil.copytree(
            ROOT / name,
            folder / name,
            ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"),
        )
    # It says how the tests are run.
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


async def run_with(bug: Bug, folder: Path) -> Outcome:
    """Run the bug's own faults against a product that has it."""
    root = copy_tree(folder / "tree")
    put_into(root, bug.changes)
    is_scaled = any(cell.victim in SCALED for cell in bug.cells)
    shape = Shape(
        seed=SEED, root=root, sink_length=500, lease_s=2.0, autoscalers=2 if is_scaled else 0
    )
    cluster = Cluster(folder, shape)
    try:
        await cluster.start()
        planned = round_of(bug.load, bug.cells, number=1, gap_s=3.0, seed=SEED)
        return await run_round(cluster, planned, drain_s=DRAIN_S)
    finally:
        await cluster.stop()


def fails_its_test(bug: Bug, folder: Path) -> bool:
    """Run the bug's test on a product that has it; print and say whether the test has failed."""
    root = copy_tree(folder / "tree")
    put_into(root, bug.changes)
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", *QUIETLY, bug.test],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    # 1 is a test that has failed; others mean that it did not run.
    found = ended.returncode == 1
    print(f"{'found' if found else 'NOT FOUND'}: {bug.name}: {bug.test}", flush=True)
    reasons = [line for line in ended.stdout.splitlines() if line.startswith("E  ")]
    for line in reasons[:1] if found else ended.stdout.splitlines()[-5:]:
        print(f"    {line}", flush=True)
    return found


def is_named(bug: Bug, outcome: Outcome) -> bool:
    """Print what was found, and say whether one of the bug's rules was broken."""
    found = Counter(violation.rule for violation in outcome.violations)
    named = bool(bug.rules & set(found))
    words = ", ".join(f"{rule} ({count})" for rule, count in found.most_common()) or "nothing"
    print(f"{'found' if named else 'NOT FOUND'}: {bug.name}: {words}", flush=True)
    for violation in outcome.violations:
        if violation.rule in bug.rules:
            print(f"    {violation}", flush=True)
            break
    return named


def main() -> int:
    parser = argparse.ArgumentParser(prog="tests.faults.seeded", description="Seeded defects.")
    parser.add_argument("--only", default="", help="those whose name contains this")
    given = parser.parse_args()
    missed = 0
    for bug in BUGS:
        if given.only not in bug.name:
            continue
        with tempfile.TemporaryDirectory(prefix="penstock-seeded-") as folder:
            if bug.test:
                found = fails_its_test(bug, Path(folder))
            else:
                found = is_named(bug, asyncio.run(run_with(bug, Path(folder))))
            missed += not found
    print(f"{missed} defects were not found")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
