"""The driver that calls an operator's program."""

import json
import os
import re
import sys
from pathlib import Path

import pytest

from deploy.autoscaling.command_driver import CommandDriver
from deploy.autoscaling.driver import DriverFailed, Leaver
from tests.deploy.processes import alive
from tests.waiting import wait_until

NOTE = """
import json, os, sys
scaling = {k: v for k, v in os.environ.items() if k.startswith("PENSTOCK_SCALE_")}
print(json.dumps([sys.argv[2:], scaling]), file=open(sys.argv[1], "a"))
"""

GUIDE = Path(__file__).parents[3] / "docs" / "autoscaling.md"
#: In place of ssh: a machine is a file that exists while its worker runs.
SSH = """#!/bin/sh
if [ "$3" = is-active ]; then test -e "$MACHINES/$1"; else touch "$MACHINES/$1"; fi
"""


async def test_the_script_of_the_guide_starts_workers_where_none_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (script,) = re.findall(r"```bash\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    for name, text in (("scale.sh", script), ("ssh", SSH)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o700)
    machines = tmp_path / "machines"
    machines.mkdir()
    # The worker of gpu-1 has left, and that of gpu-2 stays.
    (machines / "gpu-2").touch()
    monkeypatch.setenv("MACHINES", str(machines))
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    driver = CommandDriver([str(tmp_path / "scale.sh")])
    await driver.start("demo", current=1, wanted=2)
    assert {one.name for one in machines.iterdir()} == {"gpu-1", "gpu-2"}
    await driver.note_leaving("demo", [Leaver("u-1", "gpu-1", 7)], current=2, wanted=1)
    assert {one.name for one in machines.iterdir()} == {"gpu-1", "gpu-2"}
    with pytest.raises(DriverFailed, match="1 workers have no machine"):
        await driver.start("demo", current=2, wanted=4)


async def test_it_gets_the_service_and_both_numbers(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    driver = CommandDriver([sys.executable, "-c", NOTE, str(notes)])
    await driver.start("demo", current=1, wanted=3)
    leaving = [Leaver("u-1", "gpu-1", 7)]
    await driver.note_leaving("demo", leaving, current=3, wanted=2)
    first, second = map(json.loads, notes.read_text().splitlines())
    numbers = {"PENSTOCK_SCALE_FROM": "1", "PENSTOCK_SCALE_TO": "3"}
    assert first == [["demo", "1", "3"], {"PENSTOCK_SCALE_SERVICE": "demo", **numbers}]
    assert second[0] == ["demo", "3", "2"]
    told = json.loads(second[1]["PENSTOCK_SCALE_LEAVING"])
    assert told == [{"uid": "u-1", "host": "gpu-1", "pid": 7}]


async def test_the_error_quotes_what_it_said() -> None:
    driver = CommandDriver([sys.executable, "-c", "import sys; sys.exit('no quota left')"])
    with pytest.raises(DriverFailed, match="ended with 1: no quota left"):
        await driver.start("demo", current=0, wanted=1)


async def test_a_program_that_is_not_there_is_an_error() -> None:
    with pytest.raises(DriverFailed, match="cannot start /no/such/program"):
        await CommandDriver(["/no/such/program"]).start("demo", current=0, wanted=1)


async def test_a_program_that_hangs_is_ended_with_what_it_started(tmp_path: Path) -> None:
    started = tmp_path / "pid"
    hanging = (
        "import subprocess, sys, signal; "
        "child = subprocess.Popen([sys.executable, '-c', 'import signal; signal.pause()']); "
        f"open({str(started)!r}, 'w').write(str(child.pid)); signal.pause()"
    )
    driver = CommandDriver([sys.executable, "-c", hanging], timeout_s=2.0)
    with pytest.raises(DriverFailed, match="did not end within 2 s"):
        await driver.start("demo", current=0, wanted=1)
    child = int(started.read_text())
    await wait_until(lambda: not alive(child), "what it had started has ended")


async def test_what_ignores_sigterm_is_killed_also_without_the_program(tmp_path: Path) -> None:
    started = tmp_path / "pid"
    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); "
    hanging = (
        "import subprocess, sys, signal; "
        f"child = subprocess.Popen([sys.executable, '-c', {stubborn + 'signal.pause()'!r}], "
        "stdout=subprocess.PIPE); child.stdout.readline(); "
        f"open({str(started)!r}, 'w').write(str(child.pid)); "
        "print('waiting for the cloud', flush=True); signal.pause()"
    )
    driver = CommandDriver([sys.executable, "-c", hanging], timeout_s=5.0)
    with pytest.raises(DriverFailed, match=r"did not end within 5 s.*: waiting for the cloud"):
        await driver.start("demo", current=0, wanted=1)
    child = int(started.read_text())
    await wait_until(lambda: not alive(child), "what it had started has ended")


async def test_a_program_that_prints_for_ever_fills_no_disk(tmp_path: Path) -> None:
    # It prints 100 MiB at least, and looks itself how much of that is kept.
    printing = (
        "import os, sys\n"
        "most = 0\n"
        "for number in range(1600):\n"
        "    os.write(1, b'x' * 65536)\n"
        "    most = max(most, os.fstat(1).st_size)\n"
        "    if number % 20 == 19:\n"
        "        import time; begun = time.monotonic()\n"
        "        while os.fstat(1).st_size > 2**20 and time.monotonic() < begun + 60: pass\n"
        f"open({str(tmp_path / 'most')!r}, 'w').write(str(most))\n"
        "sys.exit('no quota left')\n"
    )
    driver = CommandDriver([sys.executable, "-c", printing])
    with pytest.raises(DriverFailed, match="no quota left"):
        await driver.start("demo", current=0, wanted=1)
    assert int((tmp_path / "most").read_text()) < 4 * 2**20
