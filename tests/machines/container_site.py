"""The machines of the guide as containers, each GPU machine on a Docker network of its own."""

import json
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.containers.compose import COMMAND_S, ROOT, DockerFailed
from tests.documents.pasting import Shell
from tests.machines.joined import Driver, Machine, handler

DOCKERFILE = Path(__file__).with_name("Dockerfile")

#: Where the containers see the tests, whose handler waits as they do.
TESTS = "/opt/penstock-tests"


class ContainerMachine(Shell):
    """A shell in a container.  path: a folder of this machine for what the commands print."""

    def __init__(self, path: Path, container: str) -> None:
        path.mkdir()
        super().__init__(path)
        self.container = container

    def read(self, name: str) -> bytes:
        return _docker("exec", self.container, "sh", "-c", f"cat '{name}' 2>/dev/null || true")

    def write(self, name: str, data: bytes) -> None:
        _docker("exec", "-i", self.container, "sh", "-c", f"cat > '{name}'", given=data)

    def _shell(self, commands: str) -> list[str]:
        return ["docker", "exec", self.container, *super()._shell(commands)]


class ContainerSite:
    """Containers of one image; the queue machine is on the network of each GPU machine."""

    def __init__(self, folder: Path, gpus: dict[str, int]) -> None:
        self.name = f"penstock-test-{secrets.token_hex(4)}"
        self._ends = ExitStack()
        _docker("build", "--quiet", "--file", str(DOCKERFILE), "--tag", self.name, str(ROOT))
        self._ends.callback(_docker, "image", "rm", "--force", self.name)
        self.gpu_machines: dict[str, Machine] = {}
        try:
            for name in gpus:
                # Internal: no way leads from one to another, or out.
                _docker("network", "create", "--internal", self._full(name))
                self._ends.callback(_docker, "network", "rm", self._full(name))
            first, *others = gpus
            self.queue: Machine = self._run("queue", first, folder)
            for name in others:
                self._connect("queue", name)
            for name, count in gpus.items():
                driver = Driver(folder / f"{name}-driver", count)
                machine = self._run(name, name, folder, *_installed(driver))
                machine.write("my_model.py", handler())
                self.gpu_machines[name] = machine
        except BaseException:
            self._ends.close()
            raise

    @classmethod
    @contextmanager
    def made(cls, folder: Path, gpus: dict[str, int]) -> Iterator["ContainerSite"]:
        site = cls(folder, gpus)
        with site._ends:
            yield site

    def adapted(self, commands: str) -> str:
        return commands

    def unplug(self, name: str) -> None:
        """Take the network away: the connections stay open, and hear nothing."""
        _docker("network", "disconnect", self._full(name), self._full(name))
        about = json.loads(_docker("inspect", self._full(name)))[0]
        assert about["NetworkSettings"]["Networks"] == {}, "it has no other network"

    def plug_in(self, name: str) -> None:
        self._connect(name, name)

    def _connect(self, name: str, network: str) -> None:
        _docker("network", "connect", "--alias", name, self._full(network), self._full(name))

    def _run(self, name: str, network: str, folder: Path, *options: str) -> ContainerMachine:
        container = self._full(name)
        places = ["--network", self._full(network), "--network-alias", name, "--hostname", name]
        tests = ["--volume", f"{ROOT / 'tests'}:{TESTS}/tests:ro", "--env", f"PYTHONPATH={TESTS}"]
        tests += ["--env", f"MACHINE={name}"]
        _docker("run", "--detach", "--name", container, *places, *tests, *options, self.name)
        self._ends.callback(_docker, "rm", "--force", "--volumes", container)
        return ContainerMachine(folder / name, container)

    def _full(self, name: str) -> str:
        return f"{self.name}-{name}"


def _installed(driver: Driver) -> list[str]:
    """Return the options that put a driver into a container, as NVIDIA's toolkit does."""
    return [
        *("--volume", f"{driver.programs / 'nvidia-smi'}:/usr/bin/nvidia-smi:ro"),
        *("--volume", f"{driver.gpus.folder}:{driver.gpus.folder}:ro"),
        *("--volume", f"{driver.libraries.parent}:{driver.libraries.parent}:ro"),
        *("--env", f"LD_LIBRARY_PATH={driver.libraries}"),
    ]


def _docker(*words: str, given: bytes | None = None) -> bytes:
    command = [shutil.which("docker") or "docker", *words]
    done = subprocess.run(command, input=given, capture_output=True, timeout=COMMAND_S, check=False)
    if done.returncode:
        said = done.stderr.decode()[-4000:]
        raise DockerFailed(f"`docker {' '.join(words)}` ended with {done.returncode}:\n{said}")
    return done.stdout
