"""The machines of the guide as network namespaces: folders and processes of this machine."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.documents.pasting import Folder
from tests.machines.joined import Driver, Machine, handler
from tests.machines.namespaces import Machines


class FolderMachine(Folder):
    """A folder, and the namespace in which its commands run."""

    def __init__(self, path: Path, machines: Machines) -> None:
        path.mkdir()
        super().__init__(path)
        self.env["MACHINE"] = path.name
        self._machines = machines

    def read(self, name: str) -> bytes:
        path = self.path / name
        return path.read_bytes() if path.exists() else b""

    def write(self, name: str, data: bytes) -> None:
        (self.path / name).write_bytes(data)

    def install(self, driver: Driver) -> None:
        programs, _, rest = self.env["PATH"].partition(":")
        self.env |= {
            "PATH": f"{programs}:{driver.programs}:{rest}",
            "LD_LIBRARY_PATH": str(driver.libraries),
            # Machines share no memory; these share /dev/shm, where the locks are by default.
            "PENSTOCK_WORKER_GPU_DIR": str(driver.gpus.locks),
        }

    def paste(self, commands: str) -> str:
        with self._machines.inside(self.path.name):
            return super().paste(commands)

    @contextmanager
    def started(self, commands: str, *, until: str = "") -> Iterator[Path]:
        with ExitStack() as stack:
            with self._machines.inside(self.path.name):
                log = stack.enter_context(super().started(commands, until=until))
            yield log


class NamespaceSite:
    """Machines that share this one's files and processes, but no network."""

    def __init__(self, machines: Machines, folder: Path, gpus: dict[str, int]) -> None:
        self._machines = machines
        self._address = machines.addresses["queue"]
        self.queue: Machine = FolderMachine(folder / "queue", machines)
        self.gpu_machines: dict[str, Machine] = {}
        for name, count in gpus.items():
            machine = FolderMachine(folder / name, machines)
            machine.write("my_model.py", handler())
            machine.install(Driver(folder / f"{name}-driver", count))
            self.gpu_machines[name] = machine

    @classmethod
    @contextmanager
    def made(cls, folder: Path, gpus: dict[str, int]) -> Iterator["NamespaceSite"]:
        with Machines.made("queue", *gpus) as machines:
            yield cls(machines, folder, gpus)

    def adapted(self, commands: str) -> str:
        # There is no name service between them.
        named = commands.replace("DNS:queue", f"DNS:queue,IP:{self._address}")
        return named.replace("//queue:", f"//{self._address}:")

    def unplug(self, name: str) -> None:
        self._machines.unplug(name)

    def plug_in(self, name: str) -> None:
        self._machines.plug_in(name)
