"""The driver `docker`: worker containers of a compose project, through the Docker Engine API.

A worker that leaves exits with 0, and its container stays, stopped.  To start a worker the driver
starts such a container, or else copies one.  It stops and removes none.

The restart policy of the containers becomes `on-failure`: with `unless-stopped` the engine would
start a worker again that has left.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from docker import DockerClient
from docker.models.containers import Container

from deploy.autoscaling.docker_engine import SERVICE_VARIABLE, DockerEngine, service_of
from deploy.autoscaling.driver import DriverFailed, Fleet, Leaver, Started

PROJECT_LABEL = "com.docker.compose.project"
COMPOSE_SERVICE_LABEL = "com.docker.compose.service"
ONE_OFF_LABEL = "com.docker.compose.oneoff"
NUMBER_LABEL = "com.docker.compose.container-number"
#: Copied from a container's configuration to a new one, as they are.
CONFIG = (
    "Cmd", "Entrypoint", "Env", "ExposedPorts", "Healthcheck", "Image", "Labels", "StopSignal",
    "StopTimeout", "User", "Volumes", "WorkingDir",
)  # fmt: skip
ON_FAILURE = {"Name": "on-failure", "MaximumRetryCount": 0}


class DockerDriver:
    """Starts containers of the compose project `project` with the compose service `worker`.

    A container belongs to the service that its variable PENSTOCK_WORKER_SERVICE names.
    """

    def __init__(self, project: str, *, worker: str = "inference-worker") -> None:
        self._filters = {
            "label": [f"{PROJECT_LABEL}={project}", f"{COMPOSE_SERVICE_LABEL}={worker}"]
        }
        self._project, self._worker = project, worker
        self._engine = DockerEngine()

    async def look(self, service: str) -> Fleet:
        """Return the containers that run, and why one restarts."""
        return await self._engine.ask(lambda client: self._look(client, service))

    async def start(self, service: str, *, current: int, wanted: int) -> None:
        """Start stopped containers, then copies."""
        await self._engine.ask(lambda client: self._start(client, service, wanted - current))

    async def note_leaving(
        self, service: str, leaving: Sequence[Leaver], *, current: int, wanted: int
    ) -> None:
        """Do nothing: a container ends with its worker."""

    async def close(self) -> None:
        """Close the connections to the engine."""
        await self._engine.close()

    def _containers(self, client: DockerClient, service: str) -> list[Container]:
        found = client.containers.list(all=True, filters=self._filters)
        return [
            one
            for one in found
            if service_of(one.attrs["Config"]["Env"] or ()) == service
            # That of `docker compose run` is the operator's.
            and one.labels.get(ONE_OFF_LABEL) != "True"
        ]

    def _look(self, client: DockerClient, service: str) -> Fleet:
        containers = self._containers(client, service)
        started, failed = [], ""
        for one in containers:
            if one.attrs["HostConfig"]["RestartPolicy"]["Name"] not in ("on-failure", "no"):
                one.update(restart_policy=ON_FAILURE)
            if one.status == "running":
                started.append(Started(one.attrs["Config"]["Hostname"] or one.id[:12]))
            elif one.status == "restarting":
                started.append(Started(one.id[:12]))
                code = one.attrs["State"]["ExitCode"]
                failed = f"the container {one.name} ended with {code}, and restarts"
        return Fleet(tuple(started), failed)

    def _start(self, client: DockerClient, service: str, count: int) -> None:
        containers = self._containers(client, service)
        if not containers:
            raise DriverFailed(
                f"no container of the compose service {self._worker} in the project "
                f"{self._project} has {SERVICE_VARIABLE}={service}; make one to copy with "
                f"`docker compose up --no-start --scale {self._worker}=1`"
            )
        stopped = [one for one in containers if one.status in ("exited", "created")]
        for one in stopped[:count]:
            one.start()
        for _ in range(count - len(stopped)):
            self._copy(client, containers[0]).start()

    def _copy(self, client: DockerClient, one: Container) -> Container:
        number = 1 + max(
            int(other.labels.get(NUMBER_LABEL, 0))
            for other in client.containers.list(all=True, filters=self._filters)
        )
        config = copied(one.attrs, number=number, worker=self._worker)
        name = f"{self._project}-{self._worker}-{number}"
        made = client.api.create_container_from_config(config, name)
        return client.containers.get(made["Id"])


def copied(attrs: Mapping[str, Any], *, number: int, worker: str) -> dict[str, Any]:
    """Return the configuration of a new container like this one, for the Engine API.

    Without the host name, which is the container's own id, and without addresses in networks.
    """
    config = {name: attrs["Config"].get(name) for name in CONFIG}
    config["Labels"] = {**(config["Labels"] or {}), NUMBER_LABEL: str(number)}
    networks = attrs["NetworkSettings"]["Networks"] or {}
    return {
        **config,
        "HostConfig": {**attrs["HostConfig"], "RestartPolicy": ON_FAILURE},
        "NetworkingConfig": {"EndpointsConfig": {name: {"Aliases": [worker]} for name in networks}},
    }
