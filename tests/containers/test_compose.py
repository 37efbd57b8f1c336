"""`docker compose up --scale inference-worker=3` on a real engine.

Skipped where no engine runs.  Everything runs under a project name of its own and is removed
afterwards, volumes and images included.
"""

import sys
from collections.abc import Iterator

import pytest

from tests.containers.compose import Compose, DockerFailed, reason_without_engine
from tests.containers.jobs import Jobs, counted
from tests.running import free_port
from tests.waiting import wait_until_blocking

WORKERS = 3
TOKEN = "a-token-for-this-test"
ADMIN_TOKEN = "an-admin-token-for-this-test"

#: Seconds one job takes, and jobs at once in one worker: 300 jobs take ten seconds or more.
RUN_S = 0.5
WINDOW = 5
JOBS = 300

#: Seconds until all jobs are answered, a restart of a container included.
ANSWERS_S = 120

REASON = reason_without_engine()

pytestmark = [
    pytest.mark.containers,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(REASON is not None, reason=str(REASON)),
]


@pytest.fixture(scope="module")
def built() -> Iterator[Compose]:
    settings = {
        "PENSTOCK_TOKEN": TOKEN,
        "PENSTOCK_ADMIN_TOKEN": ADMIN_TOKEN,
        "PENSTOCK_WORKER_ENGINE_OPTIONS": f'{{"delay_s": {RUN_S}}}',
        "PENSTOCK_WORKER_WORKER_THREADS": str(WINDOW),
    }
    compose = Compose(port=free_port(), settings=settings)
    try:
        compose.compose("build")
        yield compose
    finally:
        compose.remove()


@pytest.fixture
def compose(built: Compose, request: pytest.FixtureRequest) -> Iterator[Compose]:
    """Three workers, all of them up; whatever the test did to them is undone by the next `up`."""
    built.up(workers=WORKERS)
    failed_before = request.session.testsfailed
    yield built
    if request.session.testsfailed > failed_before:
        sys.stderr.write(built.logs())


@pytest.fixture
def jobs(compose: Compose) -> Jobs:
    jobs = Jobs(compose.url, service="demo", token=TOKEN, admin_token=ADMIN_TOKEN)
    # A test that failed may have left results.
    jobs.read()
    jobs.answered.clear()
    return jobs


def wait_for_answers(jobs: Jobs) -> None:
    wait_until_blocking(jobs.read, "every accepted job has a result in the sink", ANSWERS_S)
    assert jobs.answered == dict.fromkeys(jobs.accepted, 1), "a job was answered twice"


def wait_until_busy(compose: Compose, worker: str) -> None:
    # Not a full window: a busy machine puts jobs no faster than three workers run them.
    wait_until_blocking(lambda: compose.held(worker) > 0, "the worker has jobs")


def completions(compose: Compose, worker: str) -> int:
    """Return how many results this worker has given since it started."""
    return counted(compose.look(worker, "/metrics"), "penstock_worker_completions_total", "result")


def test_three_hundred_jobs_spread_over_all_three_workers(compose: Compose, jobs: Jobs) -> None:
    workers = compose.containers("inference-worker")
    before = {worker: completions(compose, worker) for worker in workers}

    jobs.put(JOBS)
    wait_for_answers(jobs)

    shares = [completions(compose, worker) - before[worker] for worker in workers]
    assert len(shares) == WORKERS
    assert sum(shares) == JOBS
    assert min(shares) > JOBS / WORKERS / 2, f"the shares are {shares}"


def test_a_worker_that_is_killed_while_busy_comes_back_and_nothing_is_lost(
    compose: Compose, jobs: Jobs
) -> None:
    jobs.put_at_once(JOBS)
    worker = compose.containers("inference-worker")[0]
    releases_before = jobs.counted("releases")
    wait_until_busy(compose, worker)

    compose.kill_from_host(worker)

    wait_for_answers(jobs)
    assert jobs.counted("releases") > releases_before, "the worker held nothing when it was killed"
    wait_until_blocking(
        lambda: compose.inspect(worker)["State"]["Health"]["Status"] == "healthy",
        "the restarted worker is healthy",
        60,
    )


def test_redis_that_is_killed_comes_back_with_every_accepted_job(
    compose: Compose, jobs: Jobs
) -> None:
    jobs.put_at_once(JOBS)
    wait_until_busy(compose, compose.containers("inference-worker")[0])

    compose.kill_from_host(compose.containers("redis")[0])

    wait_for_answers(jobs)


def test_stop_drains_the_workers_and_a_later_start_does_the_rest(
    compose: Compose, jobs: Jobs
) -> None:
    jobs.put_at_once(JOBS)
    workers = compose.containers("inference-worker")
    given_back = jobs.counted("rejections") + jobs.counted("releases")
    wait_until_busy(compose, workers[0])

    # The workers alone first, so that the queue service can be asked what they left behind.
    compose.compose("stop", "inference-worker")

    assert [compose.inspect(worker)["State"]["ExitCode"] for worker in workers] == [0] * WORKERS
    waiting = int(jobs.attributes()["stream.length"])
    done = int(jobs.attributes("/sink")["stream.length"])
    assert waiting > 0
    assert waiting + done == JOBS
    # What they held they finished: nothing was rejected, and nothing was left to be released.
    assert jobs.counted("rejections") + jobs.counted("releases") == given_back

    compose.compose("stop")
    for service in ("queue-service", "redis"):
        (container,) = compose.containers(service)
        assert compose.inspect(container)["State"]["ExitCode"] == 0, service

    compose.up(workers=WORKERS)
    wait_for_answers(jobs)


@pytest.mark.parametrize("service", ["queue-service", "inference-worker"])
def test_our_containers_are_nobody_and_can_write_nothing(compose: Compose, service: str) -> None:
    container = compose.containers(service)[0]
    assert compose.execute(container, "id", "-u").strip() == "10001"

    status = compose.execute(container, "cat", "/proc/1/status")
    assert "CapEff:\t0000000000000000" in status
    assert "NoNewPrivs:\t1" in status

    with pytest.raises(DockerFailed, match="Read-only file system"):
        compose.execute(container, "touch", "/opt/penstock/mine")
