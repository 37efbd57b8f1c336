"""The guide "Several machines" as pasted: one queue machine, three GPU machines, over TLS.

Each machine has a network and stub GPUs of its own.  One is lost in the middle of a job
and returns.
"""

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.containers.compose import reason_without_engine
from tests.documents.blocks import block
from tests.documents.pasting import LONGEST_S
from tests.gpus import COMPILER, MODEL
from tests.machines.container_site import ContainerSite
from tests.machines.guide import CERTIFICATE, CHECK, PAGE, QUEUE, WORKER
from tests.machines.joined import Machine, Site, noted
from tests.machines.namespace_site import NamespaceSite
from tests.machines.namespaces import reason_without_namespaces
from tests.waiting import wait_until_blocking

#: How many GPUs each machine has.
GPU_MACHINES = {"gpu-1": 2, "gpu-2": 1, "gpu-3": 1}
GPUS_BY_NUMBER = [number for count in GPU_MACHINES.values() for number in range(count)]
#: A running worker in the list: its name, its host, and the model and the number of its GPU.
_LISTED = r"(gpu-[\d-]+?)-\d+-[0-9a-f]{8} Running host (\S+), GPU ([^,]+) \(GPU (\d)\)"
#: What a worker logs of an answer or a delivery that has gone to another one.
_REFUSED = re.compile(r"The answer to delivery 1 of \S+ was refused|Delivery 1 of \S+ was lost")
#: What ends a connection whose other side is silent: the lease of the queue service, and some more
#: on a busy machine that runs the test.
LOST_S = 60.0


def _site(kind: type[Site], reason: str | None, *marks: pytest.MarkDecorator) -> Any:
    skipped = pytest.mark.skipif(reason is not None, reason=str(reason))
    return pytest.param(kind, marks=[skipped, *marks], id=kind.__name__)


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        COMPILER is None, reason="there is no C compiler for the stubs of NVIDIA's libraries"
    ),
    pytest.mark.timeout(900),
]


@pytest.fixture(
    params=[
        _site(NamespaceSite, reason_without_namespaces()),
        _site(ContainerSite, reason_without_engine(), pytest.mark.containers),
    ]
)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    """Make the machines of the guide."""
    with request.param.made(tmp_path, GPU_MACHINES) as made:
        yield made


def test_the_guide_works_as_pasted(site: Site) -> None:
    queue = site.queue
    queue.paste(site.adapted(block(PAGE, CERTIFICATE)))
    with ExitStack() as stack:
        stack.enter_context(queue.started(block(PAGE, QUEUE), until="Accepting jobs"))
        for name, machine in site.gpu_machines.items():
            # As by `scp`.
            machine.write("worker-token", queue.read(".penstock/worker-token"))
            machine.write("queue.pem", queue.read("queue.pem"))
            command = site.adapted(block(PAGE, WORKER)).replace("--name gpu-1", f"--name {name}")
            stack.enter_context(machine.started(command, until="Connected"))
        listed, ran = block(PAGE, CHECK).splitlines()
        until_all_are_listed(queue, listed)
        for name, machine in site.gpu_machines.items():
            # Each engine sees one GPU, and each GPU has one engine.
            assert sorted(noted(machine, "gpus")) == [str(n) for n in range(GPU_MACHINES[name])]
        assert json.loads(queue.paste(ran)) == {"label": "good"}
        lose_a_machine_and_get_it_back(site)
        until_all_are_listed(queue, listed)
        assert json.loads(queue.paste(ran)) == {"label": "good"}


def until_all_are_listed(queue: Machine, command: str) -> None:
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
        assert sorted((name, model) for name, _, model, _ in listed) == wanted, printed
        numbers = sorted(number for *_, number in listed)
        assert numbers == [str(n) for n in sorted(GPUS_BY_NUMBER)], printed
        assert printed.count("GPU memory 1024 of 81920 MiB, 37% busy") == len(wanted), printed
        return True

    wait_until_blocking(all_are_listed, "every GPU has its worker", LONGEST_S)


def lose_a_machine_and_get_it_back(site: Site) -> None:
    job_id = asked(site.queue, "client.jobs.submit('slow').id")
    one_answer = f"client.jobs.result({job_id!r}, timeout_s={LONGEST_S}).decode()"

    def runs_on() -> list[str]:
        return [name for name, one in site.gpu_machines.items() if "slow" in noted(one, "jobs")]

    def runs() -> int:
        return sum(noted(one, "jobs").count("slow") for one in site.gpu_machines.values())

    (lost,) = wait_until_blocking(runs_on, "the job runs", LONGEST_S)
    # The network reports the cut to neither side.
    site.unplug(lost)
    wait_until_blocking(lambda: runs() == 2, "it runs elsewhere", LOST_S)
    (other,) = set(runs_on()) - {lost}
    # The machine that is cut off finishes first, and cannot say so.
    site.gpu_machines[lost].write("finish", b"")
    site.gpu_machines[other].write("finish", b"")
    answer = asked(site.queue, one_answer)
    assert json.loads(answer) == {"label": "slow", "by": other}
    assert asked(site.queue, f"client.jobs.get({job_id!r}).attempt") == 2

    site.plug_in(lost)
    wait_until_blocking(
        lambda: _REFUSED.search(site.gpu_machines[lost].log), "the late result is refused", LOST_S
    )
    assert asked(site.queue, one_answer) == answer
    asked(site.queue, f"client.jobs.delete({job_id!r})")
    assert asked(site.queue, "[client.count(), client.sink.count()]") == [0, 0]


def asked(queue: Machine, expression: str) -> Any:
    """Return what a client on the queue machine gets."""
    return json.loads(queue.paste(_ASK.replace("EXPRESSION", expression)))


_ASK = """
python - <<'END'
import json
from pathlib import Path
from client_sdk import QueueClient
running = json.loads(Path(".penstock/running.json").read_text())
with QueueClient(running["url"], running["service"], token=running["token"]) as client:
    print(json.dumps(EXPRESSION))
END
"""
