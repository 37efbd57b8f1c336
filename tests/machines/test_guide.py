"""The guide "Several machines" as pasted: one queue machine, three GPU machines, over TLS.

Each machine has a network and stub GPUs of its own.  One is lost in the middle of a job
and returns.
"""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from client_sdk import QueueClient
from tests.documents.blocks import block
from tests.documents.pasting import LONGEST_S, Folder
from tests.gpus import COMPILER, GIB, MODEL, StubGpus, StubLibraries
from tests.machines import pinned_model
from tests.machines.guide import CERTIFICATE, CHECK, PAGE, QUEUE, WORKER
from tests.machines.namespaces import Machines, reason_without_namespaces
from tests.waiting import wait_until_blocking

REASON = reason_without_namespaces()
if COMPILER is None:
    REASON = REASON or "there is no C compiler for the stubs of NVIDIA's libraries"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(REASON is not None, reason=str(REASON)),
    pytest.mark.timeout(600),
]

#: How many GPUs each machine has.
GPU_MACHINES = {"gpu-1": 2, "gpu-2": 1, "gpu-3": 1}
GPUS_BY_NUMBER = [number for count in GPU_MACHINES.values() for number in range(count)]
#: A running worker in the list: its name, and the model and the number of its GPU.
_LISTED = r"(gpu-[\d-]+?)-\d+-[0-9a-f]{8} Running host \S+, GPU ([^,]+) \(GPU (\d)\)"
#: What a worker logs of an answer or a delivery that has gone to another one.
_REFUSED = re.compile(r"The answer to delivery 1 of \S+ was refused|Delivery 1 of \S+ was lost")
#: What ends a connection whose other side is silent: the lease of the queue service, and some more
#: on a busy machine that runs the test.
LOST_S = 60.0


@pytest.fixture
def machines() -> Iterator[Machines]:
    """Make the machines of the guide, and put this test on the one with the queue."""
    with Machines.made("queue", *GPU_MACHINES) as made, made.inside("queue"):
        yield made


class GpuMachine(Folder):
    """The folder of a GPU machine, with the programs, libraries and locks of its own GPUs."""

    def __init__(self, path: Path, gpus: int) -> None:
        super().__init__(path)
        shutil.copy(pinned_model.__file__, path / "my_model.py")
        stub, libraries = StubGpus(path / "driver", gpus), StubLibraries(path / "libraries")
        libraries.use(1 * GIB)
        programs, _, rest = self.env["PATH"].partition(":")
        self.env |= {
            "PATH": f"{programs}:{stub.path.partition(':')[0]}:{rest}",
            "LD_LIBRARY_PATH": str(libraries.path),
            # Machines share no memory; these share /dev/shm, where the locks are by default.
            "PENSTOCK_WORKER_GPU_DIR": str(stub.locks),
        }

    def noted(self, name: str) -> list[str]:
        """Return what its handlers have noted: `gpus` or `jobs`."""
        path = self.path / name
        return path.read_text().splitlines() if path.exists() else []

    @property
    def log(self) -> str:
        return (self.path / "started.log").read_text()


def test_the_guide_works_as_pasted(machines: Machines, tmp_path: Path) -> None:
    # There is no name service between the machines: use addresses in place of names.
    address = machines.addresses["queue"]
    (tmp_path / "queue").mkdir()
    queue = Folder(tmp_path / "queue")
    certificate = block(PAGE, CERTIFICATE).replace("DNS:queue", f"DNS:queue,IP:{address}")
    subprocess.run(["bash", "-euc", certificate], cwd=queue.path, check=True)
    gpu_machines = {}
    with ExitStack() as stack:
        stack.enter_context(queue.started(block(PAGE, QUEUE)))
        for name, gpus in GPU_MACHINES.items():
            (tmp_path / name).mkdir()
            machine = gpu_machines[name] = GpuMachine(tmp_path / name, gpus)
            for copied in (".penstock/worker-token", "queue.pem"):
                shutil.copy(queue.path / copied, machine.path)
            join = block(PAGE, WORKER).replace("//queue:", f"//{address}:")
            with machines.inside(name):
                command = join.replace("--name gpu-1", f"--name {name}")
                stack.enter_context(machine.started(command, until="Connected"))
        listed, ran = block(PAGE, CHECK).splitlines()
        until_all_are_listed(queue, listed)
        for name, machine in gpu_machines.items():
            # Each engine sees one GPU, and each GPU has one engine.
            assert sorted(machine.noted("gpus")) == [str(n) for n in range(GPU_MACHINES[name])]
        assert json.loads(queue.paste(ran)) == {"label": "good"}
        lose_a_machine_and_get_it_back(machines, queue, gpu_machines)
        until_all_are_listed(queue, listed)
        assert json.loads(queue.paste(ran)) == {"label": "good"}


def until_all_are_listed(queue: Folder, command: str) -> None:
    """Wait until `penstock workers` lists a worker for each GPU, with its name and its GPU."""
    wanted = [
        # With one GPU the command itself is the worker, and has the whole name.
        (name if count == 1 else f"{name}-{number + 1}", MODEL)
        for name, count in GPU_MACHINES.items()
        for number in range(count)
    ]

    def all_are_listed() -> bool:
        printed = " ".join(queue.paste(command).split())
        listed = re.findall(_LISTED, printed)
        assert sorted((name, model) for name, model, _ in listed) == wanted, printed
        numbers = sorted(number for _, _, number in listed)
        assert numbers == [str(n) for n in sorted(GPUS_BY_NUMBER)], printed
        assert printed.count("GPU memory 1024 of 81920 MiB, 37% busy") == len(wanted), printed
        return True

    wait_until_blocking(all_are_listed, "every GPU has its worker", LONGEST_S)


def lose_a_machine_and_get_it_back(
    machines: Machines, queue: Folder, gpu_machines: dict[str, GpuMachine]
) -> None:
    running = queue.running()
    assert running is not None
    with QueueClient(running.url, running.service, token=running.token) as client:
        job = client.jobs.submit("slow")

        def runs_on() -> list[str]:
            return [name for name, one in gpu_machines.items() if "slow" in one.noted("jobs")]

        (lost,) = wait_until_blocking(runs_on, "the job runs", LONGEST_S)
        # The network reports the cut to neither side.
        machines.unplug(lost)
        wait_until_blocking(lambda: total(gpu_machines) == 2, "it runs elsewhere", LOST_S)
        (other,) = set(runs_on()) - {lost}
        # The machine that is cut off finishes first, and cannot say so.
        (gpu_machines[lost].path / "finish").touch()
        (gpu_machines[other].path / "finish").touch()
        answer = json.loads(client.jobs.result(job.id, timeout_s=LONGEST_S))
        assert answer == {"label": "slow", "by": other}
        assert client.jobs.get(job.id).attempt == 2

        machines.plug_in(lost)
        wait_until_blocking(
            lambda: _REFUSED.search(gpu_machines[lost].log), "the late result is refused", LONGEST_S
        )
        assert json.loads(client.jobs.result(job.id)) == answer
        client.jobs.delete(job.id)
        assert client.count() == client.sink.count() == 0


def total(gpu_machines: dict[str, GpuMachine]) -> int:
    """Return how many times the job was started."""
    return sum(one.noted("jobs").count("slow") for one in gpu_machines.values())
