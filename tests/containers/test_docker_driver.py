"""The autoscaler's driver `docker` on a real engine, with containers that only sleep."""

import secrets
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from deploy.autoscaling.docker_driver import DockerDriver, copied
from deploy.autoscaling.docker_engine import service_of
from deploy.autoscaling.driver import DriverFailed
from tests.containers.compose import reason_without_engine
from tests.waiting import wait_until

#: Images that other tests use too; the first one that is there is taken.
IMAGES = ("python:3.11-slim-bookworm", "python:3.11-slim", "redis:7-alpine", "redis:7")


class Project:
    """Containers that look like those of a compose project."""

    def __init__(self, client: Any, image: str) -> None:
        self.client = client
        self.image = image
        self.name = f"penstock-test-{secrets.token_hex(4)}"
        self.network = client.networks.create(f"{self.name}_work")

    def create(self, service: str, command: str = "sleep 600") -> Any:
        """Create the first container, as `docker compose up --no-start` does."""
        return self.client.containers.create(
            self.image,
            command=["sh", "-c", command],
            name=f"{self.name}-inference-worker-1",
            environment={"PENSTOCK_WORKER_SERVICE": service, "OTHER": "kept"},
            labels={
                "com.docker.compose.project": self.name,
                "com.docker.compose.service": "inference-worker",
                "com.docker.compose.container-number": "1",
            },
            restart_policy={"Name": "unless-stopped"},
            network=self.network.name,
            mem_limit="64m",
        )

    def containers(self) -> list[Any]:
        label = f"com.docker.compose.project={self.name}"
        found: list[Any] = self.client.containers.list(all=True, filters={"label": label})
        return sorted(found, key=lambda one: one.name)

    def remove(self) -> None:
        for one in self.containers():
            one.remove(force=True)
        self.network.remove()
        self.client.close()


@pytest.fixture
def project() -> Iterator[Project]:
    if reason := reason_without_engine():
        pytest.skip(reason)
    docker = pytest.importorskip("docker")
    client = docker.from_env()
    there = {tag for image in client.images.list() for tag in image.tags}
    image = next((image for image in IMAGES if image in there), None)
    if image is None:
        client.close()
        pytest.skip(f"the engine has none of the images {', '.join(IMAGES)}")
    made = Project(client, image)
    yield made
    made.remove()


@pytest.fixture
async def driver(project: Project) -> AsyncIterator[DockerDriver]:
    opened = DockerDriver(project.name)
    yield opened
    await opened.close()


@pytest.mark.process
@pytest.mark.containers
async def test_stopped_containers_start_first_then_copies(
    project: Project, driver: DockerDriver
) -> None:
    project.create("demo")
    assert (await driver.look("demo")).started == ()
    await driver.start("demo", current=0, wanted=1)
    await driver.start("demo", current=1, wanted=3)
    fleet = await driver.look("demo")
    assert fleet.started is not None
    assert len({one.host for one in fleet.started}) == 3
    assert (await driver.look("another")).started == ()

    first, *copies = project.containers()
    for number, copy in enumerate(copies, 2):
        assert copy.name == f"{project.name}-inference-worker-{number}"
        assert {"PENSTOCK_WORKER_SERVICE=demo", "OTHER=kept"} <= set(copy.attrs["Config"]["Env"])
        assert copy.attrs["HostConfig"]["Memory"] == first.attrs["HostConfig"]["Memory"]
        networks = copy.attrs["NetworkSettings"]["Networks"]
        assert list(networks) == [project.network.name]
        assert "inference-worker" in networks[project.network.name]["Aliases"]
    # A worker that leaves stays away.
    policies = {one.attrs["HostConfig"]["RestartPolicy"]["Name"] for one in project.containers()}
    assert policies == {"on-failure"}

    copies[0].stop(timeout=0)
    await driver.start("demo", current=2, wanted=3)
    assert len(project.containers()) == 3
    assert len((await driver.look("demo")).started or ()) == 3


@pytest.mark.process
@pytest.mark.containers
async def test_a_container_that_leaves_is_not_restarted_and_one_that_fails_is_named(
    project: Project, driver: DockerDriver
) -> None:
    left = project.create("demo", "exit 0")
    # Before it starts, as the loop looks first.
    await driver.look("demo")
    await driver.start("demo", current=0, wanted=1)

    def has_ended() -> bool:
        left.reload()
        return bool(left.status == "exited")

    await wait_until(has_ended, "it has ended")
    assert (await driver.look("demo")).started == ()
    assert left.attrs["RestartCount"] == 0

    left.remove()
    project.create("demo", "exit 3")
    await driver.look("demo")
    await driver.start("demo", current=0, wanted=1)

    async def is_named() -> bool:
        return "ended with 3, and restarts" in (await driver.look("demo")).failed

    await wait_until(is_named, "the failure is named")


@pytest.mark.process
@pytest.mark.containers
async def test_without_a_container_to_copy_it_says_how_to_make_one(driver: DockerDriver) -> None:
    with pytest.raises(DriverFailed, match="docker compose up --no-start"):
        await driver.start("demo", current=0, wanted=1)


async def test_without_an_engine_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    # Over a Unix socket, the library leaves one open that could not connect.
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    with pytest.raises(DriverFailed, match="the Docker engine: "):
        await DockerDriver("any").look("demo")


def test_the_service_of_a_container_is_in_its_variables() -> None:
    assert service_of(["A=1", "PENSTOCK_WORKER_SERVICE=a=b"]) == "a=b"
    assert service_of(["A=1"]) == ""


def test_a_copy_has_neither_the_host_name_nor_the_addresses() -> None:
    attrs = {
        "Config": {"Hostname": "abc", "Image": "i", "Env": ["A=1"], "Labels": {"x": "y"}},
        "HostConfig": {"Memory": 5, "RestartPolicy": {"Name": "always"}},
        "NetworkSettings": {"Networks": {"n": {"IPAddress": "10.0.0.2", "Aliases": ["old"]}}},
    }
    config = copied(attrs, number=4, worker="w")
    assert "Hostname" not in config
    assert config["Labels"] == {"x": "y", "com.docker.compose.container-number": "4"}
    assert config["HostConfig"]["Memory"] == 5
    assert config["NetworkingConfig"] == {"EndpointsConfig": {"n": {"Aliases": ["w"]}}}
