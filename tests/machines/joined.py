"""The machines of the guide, whatever they are made of: namespaces or containers."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from tests.gpus import GIB, StubGpus, StubLibraries
from tests.machines import pinned_model


class Machine(Protocol):
    """A machine with a shell."""

    @property
    def log(self) -> str:
        """What the commands have printed that go on."""

    def paste(self, commands: str) -> str:
        """Run commands as pasted and return what they print."""

    def started(self, commands: str, *, until: str = "") -> AbstractContextManager[Path]:
        """Run commands that go on, once they have printed `until`."""

    def read(self, name: str) -> bytes:
        """Return a file of the working directory; empty if there is none."""

    def write(self, name: str, data: bytes) -> None:
        """Write a file of the working directory."""


class Site(Protocol):
    """A queue machine and GPU machines, each with a network and GPUs of its own."""

    queue: Machine
    gpu_machines: dict[str, Machine]

    def adapted(self, commands: str) -> str:
        """Return the commands with addresses in place of names, where there are no names."""

    def unplug(self, name: str) -> None:
        """Cut a GPU machine off; the network reports it to nobody."""

    def plug_in(self, name: str) -> None:
        """Connect it again."""


def noted(machine: Machine, name: str) -> list[str]:
    """Return what the handlers of a machine have noted: `gpus` or `jobs`."""
    return machine.read(name).decode().splitlines()


def handler() -> bytes:
    """Return the file `my_model.py` of a GPU machine."""
    return Path(pinned_model.__file__).read_bytes()


class Driver:
    """The stub of NVIDIA's driver of one machine: its programs and libraries."""

    def __init__(self, folder: Path, gpus: int) -> None:
        folder.mkdir()
        self.gpus = StubGpus(folder / "driver", gpus)
        self.programs = folder / "driver" / "bin"
        libraries = StubLibraries(folder / "libraries")
        libraries.use(1 * GIB)
        self.libraries = libraries.path
