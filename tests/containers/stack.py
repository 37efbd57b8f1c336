"""The compose file as a stack of Docker Swarm, with the commands that the file itself gives."""

import fcntl
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.containers.compose import ROOT, Compose, DockerFailed
from tests.waiting import wait_until_blocking

OVERLAY = "docker-compose.swarm.yml"

#: Seconds until all tasks of a stack run, or have gone.
CHANGE_S = 180


def commands() -> str:
    """Return the pipeline of the file's head, which deploys the stack."""
    head = (ROOT / OVERLAY).read_text().partition("\nservices:")[0]
    found = re.search(r"^#   (docker compose .*\n(?:#     .*\n)*)", head, re.MULTILINE)
    assert found is not None, "the head of the file has the commands"
    return found[1].replace("\n# ", "\n")


@contextmanager
def swarm_mode() -> Iterator[None]:
    """Have the engine be a manager of a swarm, of its own if it is in none.

    One test at a time, in all processes: the one that has made the swarm also leaves it.
    """
    with (Path(tempfile.gettempdir()) / "penstock-tests-swarm.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with _swarm_mode():
            yield


@contextmanager
def _swarm_mode() -> Iterator[None]:
    state = ["docker", "info", "--format", "{{.Swarm.LocalNodeState}} {{.Swarm.ControlAvailable}}"]
    if _said(state) == "active true":
        yield
        return
    here = ["--advertise-addr", "127.0.0.1", "--listen-addr", "127.0.0.1:2377"]
    init = ["docker", "swarm", "init", *here]
    made = subprocess.run(init, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"the engine cannot be a swarm: {made.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["docker", "swarm", "leave", "--force"], check=True, capture_output=True)


class Stack:
    """A stack with the name, settings and images of a compose project."""

    def __init__(self, compose: Compose, *, worker_token: str) -> None:
        self.compose = compose
        self.name = compose.project
        self.workers = f"{self.name}_inference-worker"
        self.secret = f"{self.name}-worker-token"
        compose.env["PENSTOCK_WORKER_TOKEN_SECRET"] = self.secret
        compose.run(["docker", "secret", "create", self.secret, "-"], given=worker_token)

    def deploy(self, *, workers: int) -> None:
        """Deploy it, as the file says, and wait until all tasks run."""
        self.compose.env["PENSTOCK_WORKERS"] = str(workers)
        pipeline = commands().replace(
            "docker compose", f"docker compose -p {self.name} --env-file {os.devnull}"
        )
        pipeline = pipeline.replace(" -c - penstock", f" --resolve-image never -c - {self.name}")
        assert self.name in pipeline.splitlines()[-1]
        self.compose.run(["bash", "-o", "pipefail", "-c", pipeline])
        services = ["docker", "stack", "services", self.name, "--format", "{{.Name}} {{.Replicas}}"]

        def are_up() -> bool:
            replicas = dict(line.split(" ", 1) for line in self.compose.run(services).splitlines())
            assert replicas[self.workers] == f"{workers}/{workers}", replicas
            del replicas[self.workers]
            return set(replicas.values()) == {"1/1"}

        try:
            wait_until_blocking(are_up, "all tasks of the stack run", CHANGE_S)
        except AssertionError as error:
            tasks = ["docker", "stack", "ps", "--no-trunc", self.name]
            raise DockerFailed(f"{error}\n{self.compose.run(tasks)}") from None

    def tasks(self) -> list[str]:
        """Return the states of all tasks of workers, and the errors that they ended with."""
        line = "{{.CurrentState}} {{.Error}}"
        filters = ["--filter", f"name={self.workers}", "--format", line]
        return self.compose.run(["docker", "stack", "ps", self.name, *filters]).splitlines()

    def remove(self) -> None:
        """Remove the stack with its volumes and its secret."""
        self.compose.run(["docker", "stack", "rm", self.name])
        label = f"label=com.docker.stack.namespace={self.name}"

        def are_gone() -> bool:
            return not self.compose.run(["docker", "ps", "-aq", "--filter", label])

        wait_until_blocking(are_gone, "all containers of the stack have gone", CHANGE_S)
        self.compose.run(["docker", "secret", "rm", self.secret])
        # Volumes have the stack's label too.
        volumes = self.compose.run(["docker", "volume", "ls", "-q", "--filter", label]).split()
        if volumes:
            self.compose.run(["docker", "volume", "rm", *volumes])


def _said(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
