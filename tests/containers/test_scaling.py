"""Autoscaling of worker containers, by the drivers `docker` and `swarm`, and rolling restarts.

Skipped where no engine runs.
"""

import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.containers.compose import ROOT, Compose, reason_without_engine
from tests.containers.jobs import Jobs
from tests.containers.scaled import Autoscaler, Signals, Workers
from tests.containers.stack import Stack, swarm_mode
from tests.running import free_port
from tests.waiting import wait_until_blocking

TOKEN = "a-token-for-this-test"
ADMIN_TOKEN = "an-admin-token-for-this-test"
WORKER_TOKEN = "a-worker-token-for-this-test"

MOST = 3
JOBS = 100
#: Seconds one job takes; a worker runs one at a time.
RUN_S = 0.5
#: Seconds until all jobs are answered, and until the number of workers has changed.
ANSWERS_S = 180
CHANGE_S = 240

REASON = reason_without_engine()

pytestmark = [
    pytest.mark.containers,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(REASON is not None, reason=str(REASON)),
]


@dataclass
class Running:
    """A queue service in containers, with workers or without."""

    compose: Compose
    stack: Stack | None

    @property
    def workers(self) -> Workers:
        name = self.compose.project
        if self.stack:
            label = f"label=com.docker.stack.namespace={name}"
            return Workers(self.compose, label, f"name=^{self.stack.workers}")
        labels = [f"project={name}", "service=inference-worker"]
        return Workers(self.compose, *(f"label=com.docker.compose.{label}" for label in labels))

    @property
    def redis(self) -> str:
        """The id of the container of Redis."""
        label = f"com.docker.stack.namespace={self.compose.project}"
        if not self.stack:
            return self.compose.containers("redis")[0]
        filters = ["--filter", f"label={label}", "--filter", f"name=^{self.compose.project}_redis"]
        return self.compose.run(["docker", "ps", "-q", "--no-trunc", *filters]).strip()

    def start(self, *, workers: int) -> None:
        if self.stack:
            self.stack.deploy(workers=workers)
            return
        if workers:
            self.compose.up(workers=workers)
            return
        # The driver copies the created one, which `up --scale inference-worker=0` would remove.
        self.compose.compose("up", "--no-start")
        self.compose.compose("up", "--detach", "--wait", "queue-service")

    def jobs(self) -> Jobs:
        return Jobs(self.compose.url, service="demo", token=TOKEN, admin_token=ADMIN_TOKEN)


@pytest.fixture(scope="module")
def built() -> Iterator[Compose]:
    settings = {
        "PENSTOCK_TOKEN": TOKEN,
        "PENSTOCK_ADMIN_TOKEN": ADMIN_TOKEN,
        "PENSTOCK_WORKER_ENGINE_OPTIONS": f'{{"delay_s": {RUN_S}}}',
        "PENSTOCK_WORKER_WORKER_THREADS": "1",
    }
    compose = Compose(port=free_port(), settings=settings)
    try:
        compose.compose("build")
        yield compose
    finally:
        compose.remove()


@pytest.fixture(params=["docker", "swarm"])
def running(built: Compose, request: pytest.FixtureRequest) -> Iterator[Running]:
    with ExitStack() as ends:
        stack = None
        if request.param == "swarm":
            ends.enter_context(swarm_mode())
            stack = Stack(built, worker_token=WORKER_TOKEN)
            ends.callback(stack.remove)
        else:
            ends.callback(built.down)
        running = Running(built, stack)
        failed_before = request.session.testsfailed
        yield running
        if request.session.testsfailed > failed_before:
            sys.stderr.write(running.workers.log())


@pytest.fixture
def signals(running: Running, tmp_path: Path) -> Iterator[Signals]:
    signals = Signals(running.compose, tmp_path / "signals")
    yield signals
    signals.end()


@pytest.fixture
def autoscaler(running: Running, tmp_path: Path) -> Iterator[Autoscaler]:
    driver = ["--driver", "swarm" if running.stack else "docker"]
    driver += ["--project", running.compose.project]
    autoscaler = Autoscaler(tmp_path, running.compose.url, ADMIN_TOKEN, *driver)
    yield autoscaler
    autoscaler.end()
    sys.stderr.write(autoscaler.log)


def between(least: int, most: int) -> dict[str, object]:
    """Return settings of an autoscaler that shrinks within seconds."""
    behavior = {
        "scaleDown": {"stabilizationWindowSeconds": 2},
        "onZero": {"scaleDownGracePeriodSeconds": 4},
    }
    return {"min": least, "max": most, "behavior": behavior}


def wait_for_answers(jobs: Jobs) -> None:
    wait_until_blocking(jobs.read, "every accepted job has a result in the sink", ANSWERS_S)
    assert jobs.answered == dict.fromkeys(jobs.accepted, 1), "a job was answered twice"


def wait_for_workers(running: Running, count: int) -> list[str]:
    wait_until_blocking(
        lambda: len(running.workers.running()) == count, f"{count} workers run", CHANGE_S
    )
    return running.workers.running()


def test_a_service_grows_from_zero_to_its_most_and_shrinks_to_one_and_to_zero(
    running: Running, autoscaler: Autoscaler, signals: Signals
) -> None:
    running.start(workers=0)
    jobs = running.jobs()
    signals.sent(mark=running.redis)

    autoscaler.start(**between(0, MOST))
    jobs.put(1)
    wait_for_answers(jobs)
    assert "0 to 1 workers: 1 job waiting and no worker" in autoscaler.log

    jobs.put_at_once(JOBS)
    wait_for_workers(running, MOST)
    # The first autoscaler is killed while all workers are busy.
    autoscaler.start(**between(1, MOST))
    wait_for_answers(jobs)
    wait_for_workers(running, 1)
    autoscaler.start(**between(0, MOST))
    wait_for_workers(running, 0)

    jobs.put(1)
    wait_for_answers(jobs)

    assert signals.sent(mark=running.redis) == [], "the engine sent a signal to a worker"
    log = running.workers.log()
    assert "SIG" not in log
    assert "attempt 1," in log
    assert not re.search(r"attempt [2-9]", log)
    assert [jobs.counted(what) for what in ("releases", "rejections")] == [0, 0]


def test_a_rolling_restart_loses_no_job_and_repeats_none(running: Running) -> None:
    running.start(workers=2)
    before = set(wait_for_workers(running, 2))
    jobs = running.jobs()
    jobs.put_at_once(JOBS)

    running.compose.env["COMPOSE_PROJECT_NAME"] = running.compose.project
    commands = documented("Swarm" if running.stack else "Compose")
    commands = commands.replace(" penstock_", f" {running.compose.project}_")
    running.compose.run(["bash", "-e", "-c", commands])

    wait_for_answers(jobs)
    assert jobs.counted("releases") == 0
    after = set(wait_for_workers(running, 2))
    if running.stack:
        assert not before & after, "every container was replaced"
        assert not [task for task in running.stack.tasks() if "non-zero" in task]
    else:
        assert running.workers.log().count("SIGTERM") == 2


def documented(tool: str) -> str:
    """Return the commands of docs/upgrade.md that restart the workers one after the other."""
    page = (ROOT / "docs/upgrade.md").read_text()
    found = re.search(rf"^\* \*\*{tool}\*\*.*?```sh\n(.*?)```", page, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]
