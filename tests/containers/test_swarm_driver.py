"""The autoscaler's driver `swarm` on a real engine, with tasks that only sleep."""

import secrets
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from deploy.autoscaling.driver import DriverFailed, Started
from deploy.autoscaling.swarm_driver import (
    COPY_LABEL,
    STACK_LABEL,
    SwarmDriver,
    copied,
    fleet_of,
    free_names,
    is_over,
)
from tests.containers.compose import reason_without_engine
from tests.containers.stack import swarm_mode
from tests.containers.test_docker_driver import IMAGES
from tests.waiting import wait_until


class Stack:
    """A service that looks like that of a stack's workers, and its copies."""

    def __init__(self, client: Any, image: str) -> None:
        self.client = client
        self.image = image
        self.name = f"penstock-test-{secrets.token_hex(4)}"

    def create(self, command: str, **task: Any) -> None:
        """Create the template, without a task of its own."""
        container = {
            "Image": self.image,
            "Command": ["sh", "-c", command],
            "Env": ["PENSTOCK_WORKER_SERVICE=demo", "OTHER=kept"],
            "Hostname": "the-template",
            "Init": True,
        }
        self.client.api.create_service(
            {"ContainerSpec": container, "RestartPolicy": {"Delay": 10**9}, **task},
            name=f"{self.name}_inference-worker",
            labels={STACK_LABEL: self.name},
            mode={"Replicated": {"Replicas": 0}},
            endpoint_spec={"Mode": "dnsrr"},
        )

    def services(self) -> dict[str, Any]:
        found = self.client.services.list(filters={"label": f"{STACK_LABEL}={self.name}"})
        return {one.name.removeprefix(f"{self.name}_"): one for one in found}

    def remove(self) -> None:
        for one in self.services().values():
            one.remove()
        self.client.close()


@pytest.fixture
def stack() -> Iterator[Stack]:
    if reason := reason_without_engine():
        pytest.skip(reason)
    docker = pytest.importorskip("docker")
    client = docker.from_env()
    there = {tag for image in client.images.list() for tag in image.tags}
    image = next((image for image in IMAGES if image in there), None)
    if image is None:
        client.close()
        pytest.skip(f"the engine has none of the images {', '.join(IMAGES)}")
    with swarm_mode():
        made = Stack(client, image)
        yield made
        made.remove()


@pytest.fixture
async def driver(stack: Stack) -> AsyncIterator[SwarmDriver]:
    opened = SwarmDriver(stack.name)
    yield opened
    await opened.close()


@pytest.mark.process
@pytest.mark.containers
async def test_each_worker_is_a_copy_that_ends_with_it_and_is_removed_at_the_next_start(
    stack: Stack, driver: SwarmDriver
) -> None:
    stack.create("echo here > /tmp/here; while [ -e /tmp/here ]; do sleep 0.1; done")
    await driver.start("demo", current=0, wanted=2)
    # Before Swarm has made any task.
    assert len((await driver.look("demo")).started or ()) == 2
    assert (await driver.look("another")).started == ()
    copies = ["inference-worker-1", "inference-worker-2"]
    assert set(stack.services()) == {"inference-worker", *copies}

    def containers() -> list[Any]:
        filters = {"name": f"{stack.name}_inference-worker", "status": "running"}
        found: list[Any] = stack.client.containers.list(filters=filters)
        return found

    await wait_until(lambda: len(containers()) == 2, "both run", 60)
    # The host names by which their workers connect.
    hosts = {one.attrs["Config"]["Hostname"] for one in containers()}

    async def are_known() -> bool:
        return {one.host for one in (await driver.look("demo")).started or ()} == hosts

    await wait_until(are_known, "the driver knows the host names")

    # One leaves.
    (first,) = (one for one in containers() if "inference-worker-1." in one.name)
    assert first.exec_run(["rm", "/tmp/here"]).exit_code == 0

    async def has_ended() -> bool:
        return len((await driver.look("demo")).started or ()) == 1

    await wait_until(has_ended, "one has left", 60)
    assert set(stack.services()) == {"inference-worker", *copies}
    (kept,) = containers()
    await driver.start("demo", current=1, wanted=2)
    await wait_until(lambda: len(containers()) == 2, "two run again", 60)
    assert kept.id in {one.id for one in containers()}
    assert set(stack.services()) <= {"inference-worker", *copies, "inference-worker-3"}
    assert len(stack.services()) == 3


@pytest.mark.process
@pytest.mark.containers
async def test_a_worker_that_fails_and_one_without_a_node_are_named(
    stack: Stack, driver: SwarmDriver
) -> None:
    stack.create("exit 3")
    await driver.start("demo", current=0, wanted=1)

    async def is_named(part: str) -> bool:
        return part in (await driver.look("demo")).failed

    await wait_until(
        lambda: is_named("inference-worker-1 has ended (task: non-zero exit (3)), and restarts"),
        "the failure is named",
        60,
    )
    stack.remove()
    stack.create("sleep 600", Placement={"Constraints": ["node.hostname == nowhere"]})
    await driver.start("demo", current=0, wanted=1)
    await wait_until(lambda: is_named("waits for a node: no suitable node"), "it is named", 60)
    assert len((await driver.look("demo")).started or ()) == 1


@pytest.mark.process
@pytest.mark.containers
async def test_without_a_template_it_says_how_to_make_one(driver: SwarmDriver) -> None:
    with pytest.raises(DriverFailed, match="docker stack deploy"):
        await driver.start("demo", current=0, wanted=1)


def service(
    name: str = "s_w", *, copy_of: str = "s_w", replicas: int = 1, **container: Any
) -> dict[str, Any]:
    labels = {COPY_LABEL: copy_of} if copy_of else {}
    spec: dict[str, Any] = {
        "Name": name,
        "Labels": labels,
        "TaskTemplate": {"ContainerSpec": container},
    }
    spec["Mode"] = {"Replicated": {"Replicas": replicas}}
    return {"ID": name, "Spec": spec}


def task(state: str, number: int = 0, slot: int = 1, of: str = "s_w", **more: Any) -> Any:
    status = {"State": state, **more}
    return {
        "ID": f"task-{number}",
        "ServiceID": of,
        "Slot": slot,
        "CreatedAt": f"2026-01-01T00:00:{number:02}Z",
        "Status": status,
    }


@pytest.mark.parametrize(
    ("states", "left"),
    [
        ([], False),
        (["complete"], True),
        (["failed", "complete"], True),
        (["failed"], False),
        # An operator has updated the copy: its worker runs again.
        (["complete", "running"], False),
        (["complete", "pending"], False),
        (["shutdown"], False),
    ],
)
def test_a_copy_is_removed_only_when_its_worker_has_left(states: list[str], left: bool) -> None:
    assert is_over(service(), [task(state, number) for number, state in enumerate(states)]) is left
    running = len(fleet_of([service()], [task(state) for state in states]).started or ())
    assert running == (0 if left else 1)


def test_a_copy_that_an_operator_has_stopped_is_over_when_its_task_has_ended() -> None:
    stopped = service(replicas=0)
    assert fleet_of([stopped], [task("running")]).started
    assert fleet_of([stopped], [task("shutdown")]).started == ()
    assert fleet_of([stopped], []).started == ()


def test_only_what_runs_now_counts_as_a_failure() -> None:
    failed = task("failed", 1, Err="task: non-zero exit (3)")
    said = "the worker s_w has ended (task: non-zero exit (3)), and restarts"
    assert fleet_of([service()], [failed]).failed == said
    assert fleet_of([service()], [failed, task("ready", 2)]).failed == said
    assert fleet_of([service()], [failed, task("running", 2)]).failed == ""
    assert fleet_of([service()], [failed, task("complete", 2)]).failed == ""
    # Those of another service, and of other slots, are others.
    assert fleet_of([service()], [task("failed", 1, of="other", Err="x")]).failed == ""
    assert fleet_of([service()], [task("failed", 1, Err="x"), task("starting", 2, 2)]).failed


def test_tasks_of_the_template_count_and_a_missing_one_does_not() -> None:
    template = service(copy_of="", Hostname="named")
    ran = task("running", ContainerStatus={"ContainerID": "0123456789abcdef"})
    assert fleet_of([template], [ran]).started == (Started("named"),)
    assert fleet_of([template], []).started == ()
    assert fleet_of([service()], [ran]).started == (Started("0123456789ab"),)


def test_free_names_are_the_lowest_ones() -> None:
    names = ["s_w", "s_w-1", "s_w-3", "s_redis"]
    assert free_names("s_w", names, 3) == ["s_w-2", "s_w-4", "s_w-5"]
    assert free_names("s_w", [], 0) == []


def test_a_copy_has_no_port_and_restarts_after_failures_only() -> None:
    spec = {
        "Name": "s_w",
        "Labels": {STACK_LABEL: "s"},
        "TaskTemplate": {
            "ContainerSpec": {"Image": "i", "Hostname": "h", "Env": ["A=1"]},
            "RestartPolicy": {"Condition": "any", "Delay": 5, "MaxAttempts": 2},
            "Networks": [{"Target": "n"}],
        },
        "Mode": {"Replicated": {"Replicas": 7}},
        "EndpointSpec": {"Mode": "vip", "Ports": [{"TargetPort": 9090}]},
    }
    assert copied(spec, "s_w-1") == {
        "name": "s_w-1",
        "labels": {STACK_LABEL: "s", COPY_LABEL: "s_w"},
        "task_template": {
            "ContainerSpec": {"Image": "i", "Env": ["A=1"]},
            "RestartPolicy": {"Condition": "on-failure", "Delay": 5, "MaxAttempts": 0},
            "Networks": [{"Target": "n"}],
        },
        "mode": {"Replicated": {"Replicas": 1}},
        "endpoint_spec": {"Mode": "dnsrr"},
    }
