"""One run of the compose file, under a name of its own, and what can be done to it."""

import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.waiting import wait_until_blocking

ROOT = Path(__file__).parents[2]

#: Seconds for a command of docker; the first build installs all that the images need.
COMMAND_S = 600

#: Seconds until a container whose process was killed is up again; the engine waits before it
#: restarts one.
RESTART_S = 60

#: A look at the worker's own port, from inside its container.
_LOOK = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=5).read().decode())"


class DockerFailed(AssertionError):
    """A command of docker ended with an error; the message has what it said."""


def reason_without_engine() -> str | None:
    """Return why no container can be run here, or None when one can."""
    if shutil.which("docker") is None:
        return "there is no docker command"
    if _run(["docker", "compose", "version"]).returncode:
        return "docker has no compose v2"
    if _run(["docker", "version", "--format", "{{.Server.Version}}"]).returncode:
        return "no Docker engine answers"
    return None


class Compose:
    """A project of docker compose made of the repository's own files.

    settings: the variables that the compose file reads.  The developer's own environment and
    `.env` do not count, so that each run is the same.  overlays: laid over docker-compose.yml.
    """

    def __init__(
        self, *, port: int, settings: dict[str, str], overlays: Sequence[str] = ()
    ) -> None:
        self._files = ("docker-compose.yml", *overlays)
        self.project = f"penstock-test-{secrets.token_hex(4)}"
        self.url = f"http://127.0.0.1:{port}"
        self.images = [f"{self.project}/queue-service", f"{self.project}/inference-worker"]
        ours = ("PENSTOCK_", "COMPOSE_", "REDIS_")
        self.env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        self.env |= {
            "PENSTOCK_PORT": str(port),
            # They are built once and not by every `up`.
            "PENSTOCK_PULL_POLICY": "missing",
            "PENSTOCK_QUEUE_SERVICE_IMAGE": self.images[0],
            "PENSTOCK_INFERENCE_WORKER_IMAGE": self.images[1],
            **settings,
        }

    def compose(self, *arguments: str) -> str:
        """Run one command of docker compose and return what it printed."""
        command = ["docker", "compose", "--project-name", self.project, "--env-file", os.devnull]
        files = [option for file in self._files for option in ("-f", file)]
        return self.run([*command, *files, *arguments])

    def up(self, *, workers: int) -> None:
        """Start everything, and return once every container is healthy."""
        scale = ["--scale", f"inference-worker={workers}"]
        try:
            self.compose("up", "--detach", "--wait", *scale)
        except DockerFailed as error:
            raise DockerFailed(f"{error}\n{self.logs()}") from None

    def logs(self) -> str:
        """Return the last lines of every container."""
        return self.compose("logs", "--no-color", "--tail", "100")

    def remove(self) -> None:
        """Stop and delete containers, networks, volumes and images of this project."""
        self.down()
        _run(["docker", "image", "rm", "--force", *self.images])

    def down(self) -> None:
        """Stop and delete all but the images."""
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "5")

    def containers(self, service: str) -> list[str]:
        """Return the ids of a service's containers, those that have ended included."""
        return self.compose("ps", "--all", "--quiet", service).split()

    def inspect(self, container: str) -> dict[str, Any]:
        """Return what the engine knows of a container."""
        description: dict[str, Any] = json.loads(
            self.run(["docker", "inspect", container]),
        )[0]
        return description

    def execute(self, container: str, *command: str) -> str:
        """Run a command inside a container and return what it printed."""
        return self.run(["docker", "exec", container, *command])

    def look(self, container: str, path: str) -> str:
        """GET a path of a worker's own port."""
        return self.execute(container, "python", "-c", _LOOK, f"http://127.0.0.1:9090{path}")

    def held(self, container: str) -> int:
        """Return how many deliveries run in this worker now."""
        return int(json.loads(self.look(container, "/healthz"))["held"])

    def kill_from_host(self, container: str) -> None:
        """SIGKILL a container's first process, as the kernel does when memory runs out.

        `docker kill` would count as a stop by hand, after which nothing is restarted.  The kill
        comes from a container in the host's process namespace and therefore needs no root here.
        """
        before = self.inspect(container)
        script = "import os, sys; os.kill(int(sys.argv[1]), 9)"
        command = ["python", "-c", script, str(before["State"]["Pid"])]
        inside = ["docker", "run", "--rm", "--pid=host", "--user=0", self.images[0]]
        self.run([*inside, *command])

        def is_back() -> bool:
            now = self.inspect(container)
            restarted = now["RestartCount"] > before["RestartCount"]
            return restarted and bool(now["State"]["Running"])

        wait_until_blocking(is_back, "the killed container was restarted", RESTART_S)

    def run(self, command: list[str], *, given: str | None = None) -> str:
        """Run a command and return what it printed; given: what it reads from its input."""
        done = _run(command, self.env, given)
        if done.returncode:
            words = " ".join(command)
            raise DockerFailed(f"`{words}` ended with {done.returncode}:\n{done.stderr[-4000:]}")
        return done.stdout


def _run(
    command: list[str], env: dict[str, str] | None = None, given: str | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=ROOT,
        env=env,
        input=given,
        capture_output=True,
        text=True,
        timeout=COMMAND_S,
        check=False,
    )
