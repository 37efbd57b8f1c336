"""Worker containers on a machine with a stub of eight GPUs: each has its own, whatever dies.

The files are those that ship.  Only the reservation of devices is left out, which needs NVIDIA's
container toolkit; `nvidia-smi`, which the toolkit mounts, is a stub.  Skipped where no engine runs.
"""

import re
from collections.abc import Iterator

import pytest

from tests.containers.compose import Compose, reason_without_engine
from tests.containers.jobs import Jobs
from tests.gpus import MODEL, StubGpus
from tests.running import free_port
from tests.waiting import wait_until_blocking

GPUS = 8
TOKEN = "a-token-for-this-test"
ADMIN_TOKEN = "an-admin-token-for-this-test"

#: Seconds until nine workers have started on a busy machine, and until a GPU has changed hands.
START_S = 240

REASON = reason_without_engine()

pytestmark = [
    pytest.mark.containers,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(REASON is not None, reason=str(REASON)),
]

WITHOUT_TOOLKIT = """
services:
  inference-worker:
    volumes:
      - {folder}:{folder}:ro
      - {folder}/bin/nvidia-smi:/usr/bin/nvidia-smi:ro
    deploy:
      resources:
        reservations: !reset {{}}
"""


@pytest.fixture(scope="module")
def compose(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compose]:
    folder = tmp_path_factory.mktemp("gpus")
    machine = StubGpus(folder / "machine", GPUS)
    overlay = folder / "without-toolkit.yml"
    overlay.write_text(WITHOUT_TOOLKIT.format(folder=machine.folder))
    settings = {
        "PENSTOCK_TOKEN": TOKEN,
        "PENSTOCK_ADMIN_TOKEN": ADMIN_TOKEN,
        "PENSTOCK_WORKER_EXTRAS": "worker",
        "PENSTOCK_WORKER_ENGINE": "echo",
        # There are no libraries that could be looked at.
        "PENSTOCK_WORKER_GPU_HEALTH": "false",
    }
    overlays = ["docker-compose.gpu.yml", str(overlay)]
    compose = Compose(port=free_port(), settings=settings, overlays=overlays)
    try:
        compose.compose("build")
        yield compose
    finally:
        compose.remove()


class Fleet:
    """The workers as the queue service and their containers show them."""

    def __init__(self, compose: Compose) -> None:
        self.compose = compose
        self._jobs = Jobs(compose.url, service="demo", token=TOKEN, admin_token=ADMIN_TOKEN)

    def held(self) -> list[int]:
        """Return the GPUs of the connected workers that have one."""
        shown = [one["gpu"] for one in self._jobs.workers() if not waiting(one)]
        numbers = [re.fullmatch(rf"{MODEL} \(GPU (\d)\)", gpu) for gpu in shown]
        assert all(numbers), shown
        return sorted(int(number[1]) for number in numbers if number)

    def reasons(self) -> list[str]:
        """Return why the workers that have no GPU wait."""
        return [reason for one in self._jobs.workers() if (reason := waiting(one))]

    def wait_for(self, *, waiting: int) -> None:
        """Wait until each GPU has one worker, and this number of others wait."""

        def is_so() -> bool:
            held, reasons = self.held(), self.reasons()
            assert (held, len(reasons)) == (list(range(GPUS)), waiting)
            return True

        wait_until_blocking(is_so, f"{GPUS} workers have {GPUS} GPUs", START_S)

    def workers(self) -> list[str]:
        return self.compose.containers("inference-worker")


def waiting(about: dict[str, object]) -> str:
    load = about.get("load")
    assert isinstance(load, dict)
    return str(load["gpu_reason"]) if load.get("gpu_state") == "waiting" else ""


def test_eight_containers_have_eight_gpus_and_a_ninth_waits_and_says_why(
    compose: Compose,
) -> None:
    fleet = Fleet(compose)
    compose.up(workers=GPUS)
    fleet.wait_for(waiting=0)
    before = fleet.workers()

    compose.up(workers=GPUS + 1)
    fleet.wait_for(waiting=1)
    (reason,) = fleet.reasons()
    assert "waits for a free GPU of 8" in reason
    # Every GPU with its holder: the host name of a container is the start of its id.
    holders = re.findall(r"GPU (\d) is held by \S+ of demo \(process \d+ on (\w+)\)", reason)
    assert [int(number) for number, _ in holders] == list(range(GPUS))
    assert {host for _, host in holders} == {one[:12] for one in before}
    (ninth,) = set(fleet.workers()) - set(before)
    assert "waits for a free GPU of 8" in compose.look(ninth, "/healthz")

    # Killed as by the kernel, stopped and started, and killed while it waits: nine for eight GPUs.
    compose.kill_from_host(before[0])
    fleet.wait_for(waiting=1)
    compose.run(["docker", "restart", "--time", "20", before[1], before[2]])
    fleet.wait_for(waiting=1)
    compose.kill_from_host(ninth)
    fleet.wait_for(waiting=1)

    # One is removed for good: the one that waits has its GPU.
    compose.run(["docker", "rm", "--force", before[3]])
    fleet.wait_for(waiting=0)
    # All of them at once.
    compose.run(["docker", "restart", "--time", "20", *fleet.workers()])
    fleet.wait_for(waiting=0)
