"""The Docker Engine API, for the drivers that start containers with it."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

import docker
import docker.errors
from requests.exceptions import RequestException

from deploy.autoscaling.driver import DriverFailed

T = TypeVar("T")

#: Seconds that the engine has to answer.
TIMEOUT_S = 30
#: The container's variable that names the service of its worker.
SERVICE_VARIABLE = "PENSTOCK_WORKER_SERVICE"


class DockerEngine:
    """The engine that DOCKER_HOST names, or the one of this machine."""

    def __init__(self) -> None:
        self._client: docker.DockerClient | None = None

    async def ask(self, work: Callable[[docker.DockerClient], T]) -> T:
        """Call the engine in a thread, because its library blocks; raises DriverFailed."""
        try:
            return await asyncio.to_thread(lambda: work(self._opened()))
        except (docker.errors.DockerException, RequestException) as error:
            # The engine may come back at another address, such as a new socket.
            await self.close()
            raise DriverFailed(f"the Docker engine: {error}") from error

    async def close(self) -> None:
        """Close the connections to the engine."""
        client, self._client = self._client, None
        if client is not None:
            await asyncio.to_thread(client.close)

    def _opened(self) -> docker.DockerClient:
        if self._client is None:
            self._client = docker.from_env(timeout=TIMEOUT_S)
        return self._client


def service_of(env: Sequence[str]) -> str:
    """Return the service of a worker's container, from its variables."""
    values = (text.partition("=") for text in env)
    return next((value for name, _, value in values if name == SERVICE_VARIABLE), "")
