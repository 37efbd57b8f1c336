"""`penstock up` scales its services: from no worker to the most, and back to none."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from client_sdk import QueueClient
from tests.deploy.local_mode import StartUp, Up, penstock
from tests.waiting import wait_until_blocking

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

MOST = 3
OPTIONS = (
    "-Dmin=0",
    f"-Dmax={MOST}",
    "-Dstrategies.queue[avgbacklog]=10",
    "-Dbehavior.scaleDown.stabilizationWindowSeconds=2",
    "-Dbehavior.onZero.scaleDownGracePeriodSeconds=4",
)


def started(up: Up) -> set[str]:
    """Return the names of all workers that have written something."""
    return set(re.findall(r"worker-\d+", up.log))


def results(client: QueueClient, count: int) -> list[bytes]:
    found: list[bytes] = []

    def are_all() -> bool:
        found.extend(frame.data for frame in client.sink.get(length=100))
        return len(found) >= count

    wait_until_blocking(are_all, f"{count} results are there", 120)
    return found


def test_a_local_service_grows_from_zero_to_its_most_and_shrinks_to_zero(start_up: StartUp) -> None:
    up = start_up("--workers", "0", "--window", "1", "--engine-options", '{"delay_s": 0.2}')
    running = up.ready()
    set_up = penstock(up, "autoscale", "demo", *OPTIONS)
    assert set_up.returncode == 0, set_up.stderr
    with QueueClient(running.url, "demo", token=running.token) as client:
        client.put(b"first")
        assert results(client, 1) == [b"first"]
        assert len(started(up)) == 1
        for number in range(100):
            client.put(b"%d" % number)
        wait_until_blocking(lambda: f"to {MOST} workers" in up.log, "it has grown to the most", 90)
        assert sorted(results(client, 100)) == sorted(b"%d" % n for n in range(100))
        wait_until_blocking(
            lambda: up.log.count("exited with 0; not restarted") == len(started(up)),
            "all have left",
            90,
        )
        assert client.sink.count() == 0
    # No job was delivered twice, and no worker got a signal.
    assert not re.search("attempt [2-9]", up.log)
    assert not re.search("worker-.*SIG", up.log)


def test_without_its_autoscaling_another_autoscaler_decides(
    start_up: StartUp, tmp_path: Path
) -> None:
    up = start_up("--workers", "0", "--no-autoscaling")
    running = up.ready()
    assert penstock(up, "autoscale", "demo", *OPTIONS).returncode == 0
    called = tmp_path / "called"
    program = tmp_path / "scale.sh"
    program.write_text(f'#!/bin/sh\necho "$@" > {called}.part && mv {called}.part {called}\n')
    program.chmod(0o700)
    options = ["--driver", "command", "--command", str(program), "--data", str(up.data_dir)]
    command = [sys.executable, "-m", "deploy.cli", "autoscale", "run", *options]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as elsewhere:
        try:
            with QueueClient(running.url, "demo", token=running.token) as client:
                client.put(b"first")
            wait_until_blocking(called.exists, "the program is asked for a worker", 90)
        finally:
            elsewhere.terminate()
    assert called.read_text() == "demo 0 1\n"
    assert not started(up)
