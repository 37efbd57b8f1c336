"""The guide "Several machines" as pasted: one queue machine, three GPU machines, over TLS."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.documents.blocks import block
from tests.documents.pasting import Folder
from tests.machines.guide import CERTIFICATE, CHECK, PAGE, QUEUE, WORKER
from tests.machines.namespaces import Machines, reason_without_namespaces

REASON = reason_without_namespaces()

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(REASON is not None, reason=str(REASON)),
]

GPU_MACHINES = ("gpu-1", "gpu-2", "gpu-3")


@pytest.fixture
def machines() -> Iterator[Machines]:
    """Make the machines of the guide, and put this test on the one with the queue."""
    with Machines.made("queue", *GPU_MACHINES) as made, made.inside("queue"):
        yield made


def folder_of(machine: str, tmp_path: Path) -> Folder:
    path = tmp_path / machine
    path.mkdir()
    return Folder(path)


def test_the_guide_works_as_pasted(machines: Machines, tmp_path: Path) -> None:
    # There is no name service between the machines: use addresses in place of names.
    address = machines.addresses["queue"]
    queue = folder_of("queue", tmp_path)
    certificate = block(PAGE, CERTIFICATE).replace("DNS:queue", f"DNS:queue,IP:{address}")
    subprocess.run(["bash", "-euc", certificate], cwd=queue.path, check=True)
    with ExitStack() as stack:
        stack.enter_context(queue.started(block(PAGE, QUEUE)))
        for name in GPU_MACHINES:
            machine = folder_of(name, tmp_path)
            for copied in (".penstock/worker-token", "queue.pem"):
                shutil.copy(queue.path / copied, machine.path)
            join = block(PAGE, WORKER).replace("//queue:", f"//{address}:")
            with machines.inside(name):
                command = join.replace("--name gpu-1", f"--name {name}")
                stack.enter_context(machine.started(command, until="Connected"))
        listed, ran = block(PAGE, CHECK).splitlines()
        printed = queue.paste(listed)
        for name in GPU_MACHINES:
            assert f"  {name}-" in printed
        assert json.loads(queue.paste(ran)) == {"label": "good"}
