"""The driver `swarm`: workers of a stack, through the API of a Docker Swarm manager.

The stack's service of workers is a template.  The driver copies it to one Swarm service per worker:

    penstock_inference-worker      the template; only `docker stack deploy` changes it
    penstock_inference-worker-1    one task, which is complete when its worker has left

It does not change the number of replicas: Swarm would choose the task to stop by how full the
nodes are, and send a signal to a busy worker although another one has left.  Swarm restarts a task
after a failure, on another node if its node is lost, and not after its worker has exited with 0.
Copies whose workers have left stay, with their logs, until the next start.

The copies are no Swarm jobs: when such a job is removed, Docker 20.10 lets its container run.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from docker import DockerClient

from deploy.autoscaling.docker_engine import SERVICE_VARIABLE, DockerEngine, service_of
from deploy.autoscaling.driver import DriverFailed, Fleet, Leaver, Started

Json = Mapping[str, Any]

STACK_LABEL = "com.docker.stack.namespace"
#: On a copy: the name of its template.
COPY_LABEL = "penstock.copy-of"
#: A task in one of these states has no container that runs, and will have none.
ENDED = frozenset(("complete", "shutdown", "failed", "rejected", "remove", "orphaned"))
FAILED = frozenset(("failed", "rejected"))
ONE_TASK = {"Replicated": {"Replicas": 1}}


class SwarmDriver:
    """Starts copies of the service `worker` of the stack `stack`.

    A Swarm service belongs to the Penstock service in its variable PENSTOCK_WORKER_SERVICE.
    """

    def __init__(self, stack: str, *, worker: str = "inference-worker") -> None:
        self._template = f"{stack}_{worker}"
        self._filters = {"label": f"{STACK_LABEL}={stack}"}
        self._engine = DockerEngine()

    async def look(self, service: str) -> Fleet:
        """Return the tasks that run or will run, and why one does not."""
        return await self._engine.ask(lambda client: self._look(client, service))

    async def start(self, service: str, *, current: int, wanted: int) -> None:
        """Start copies, and remove those whose workers have left."""
        await self._engine.ask(lambda client: self._start(client, service, wanted - current))

    async def note_leaving(
        self, service: str, leaving: Sequence[Leaver], *, current: int, wanted: int
    ) -> None:
        """Do nothing: a task is complete when its worker has left."""

    async def close(self) -> None:
        """Close the connections to the manager."""
        await self._engine.close()

    def _look(self, client: DockerClient, service: str) -> Fleet:
        return fleet_of(self._services(client, service), self._tasks(client))

    def _start(self, client: DockerClient, service: str, count: int) -> None:
        services = self._services(client, service)
        template = next((one for one in services if not is_copy(one)), None)
        if template is None:
            raise DriverFailed(
                f"no Swarm service {self._template} has {SERVICE_VARIABLE}={service}; make it "
                "with `docker stack deploy`, with 0 replicas, and name the stack in --project"
            )
        tasks = self._tasks(client)
        for one in services:
            # Not one that was just made, and has no task yet.
            if is_copy(one) and is_over(one, _tasks_of(one, tasks)):
                client.api.remove_service(one["ID"])
        # Of all Penstock services, because the names of Swarm services are unique.
        names = {one["Spec"]["Name"] for one in self._everything(client)}
        for name in free_names(self._template, names, count):
            client.api.create_service(**copied(template["Spec"], name))

    def _everything(self, client: DockerClient) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = client.api.services(filters=self._filters)
        return found

    def _tasks(self, client: DockerClient) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = client.api.tasks(filters=self._filters)
        return found

    def _services(self, client: DockerClient, service: str) -> list[dict[str, Any]]:
        """Return the template and its copies."""
        return [
            one
            for one in self._everything(client)
            if self._template in (one["Spec"]["Name"], _labels(one).get(COPY_LABEL))
            and service_of(_container(one["Spec"]).get("Env") or ()) == service
        ]


def fleet_of(services: Iterable[Json], tasks: Sequence[Json]) -> Fleet:
    """Return the workers of these Swarm services."""
    started, failed = [], ""
    for one in services:
        own = _tasks_of(one, tasks)
        alive = [task for task in own if task["Status"]["State"] not in ENDED]
        started += [Started(_host(one, task)) for task in alive]
        if is_copy(one) and not alive and not is_over(one, own):
            # Swarm makes the first task a moment later, as the next one after a failure.
            started.append(Started(one["ID"]))
        if sentence := _failure(own):
            failed = f"the worker {one['Spec']['Name']} {sentence}"
    return Fleet(tuple(started), failed)


def is_copy(service: Json) -> bool:
    """Say whether this driver made the Swarm service."""
    return COPY_LABEL in _labels(service)


def is_over(copy: Json, tasks: Sequence[Json]) -> bool:
    """Say whether the worker of a copy, of which these are all tasks, has left, or was stopped."""
    states = {task["Status"]["State"] for task in tasks}
    if not states <= ENDED:
        return False
    return "complete" in states or copy["Spec"]["Mode"]["Replicated"]["Replicas"] == 0


def free_names(template: str, names: Iterable[str], count: int) -> list[str]:
    """Return names for copies: the template's, with the lowest numbers that are not in use."""
    used = set(names)
    highest = len(used) + count
    free = [f"{template}-{number}" for number in range(1, highest + 1)]
    return [name for name in free if name not in used][:count]


def copied(template: Json, name: str) -> dict[str, Any]:
    """Return the arguments with which the Engine API makes a copy.

    Without published ports, which only one task of a node can have, without a host name, by which
    the copies could not be told apart, and without an address of its own beside that of its task.
    """
    task = template["TaskTemplate"]
    restart = {**(task.get("RestartPolicy") or {}), "Condition": "on-failure", "MaxAttempts": 0}
    container = {key: value for key, value in _container(template).items() if key != "Hostname"}
    copy_of = {COPY_LABEL: template["Name"]}
    return {
        "name": name,
        "labels": {**(template.get("Labels") or {}), **copy_of},
        "task_template": {**task, "ContainerSpec": container, "RestartPolicy": restart},
        "mode": ONE_TASK,
        "endpoint_spec": {"Mode": "dnsrr"},
    }


def _failure(tasks: Sequence[Json]) -> str:
    """Return why the newest task does not run, as the rest of a sentence; "" if it does."""
    slots: dict[object, list[Json]] = {}
    for task in sorted(tasks, key=lambda one: one["CreatedAt"]):
        slots.setdefault(task.get("Slot"), []).append(task)
    for of_slot in slots.values():
        *earlier, last = of_slot
        status = last["Status"]
        why = status.get("Err") or status.get("Message") or "for an unknown reason"
        if status["State"] in FAILED:
            return f"has ended ({why}), and restarts"
        if status["State"] == "pending" and status.get("Err"):
            return f"waits for a node: {status['Err']}"
        if status["State"] in ENDED or status["State"] == "running" or not earlier:
            continue
        before = earlier[-1]["Status"]
        if before["State"] in FAILED:
            return f"has ended ({before.get('Err') or before.get('Message')}), and restarts"
    return ""


def _host(service: Json, task: Json) -> str:
    """Return the host name that the worker of a task reports."""
    container = (task["Status"].get("ContainerStatus") or {}).get("ContainerID") or ""
    named = "" if is_copy(service) else _container(service["Spec"]).get("Hostname")
    return named or container[:12] or str(task["ID"])


def _tasks_of(service: Json, tasks: Iterable[Json]) -> list[Json]:
    return [task for task in tasks if task["ServiceID"] == service["ID"]]


def _labels(service: Json) -> Json:
    return service["Spec"].get("Labels") or {}


def _container(spec: Json) -> dict[str, Any]:
    # A plugin has none.
    found: dict[str, Any] = spec["TaskTemplate"].get("ContainerSpec") or {}
    return found
