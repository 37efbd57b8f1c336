"""Redis, the queue service and a worker with the commands, variables and files of the chart.

No cluster runs here: the processes take what Kubernetes would give to their containers, and the
queries are those that the chart gives to KEDA.
"""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest

from client_sdk import AsyncQueueClient
from client_sdk.leash import LEASH
from deploy.local.redis_server import find_redis_server
from tests.deploy.kubernetes.chart import (
    Document,
    containers,
    needs_helm,
    of_kind,
    pods,
    secrets_of,
    template,
    variables,
)
from tests.running import QueueServiceProcess, ServerProcess, WorkerProcess, free_port
from tests.waiting import wait_until

pytestmark = needs_helm()

QUEUE, REDIS = "ours-penstock-queue", "ours-penstock-redis"
ADDRESS = f"http://{QUEUE}.ml.svc.cluster.local:8080"


@dataclass(frozen=True)
class Release:
    """The documents of a release, and where its volumes are on this machine."""

    documents: list[Document]
    root: Path

    @property
    def secrets(self) -> dict[str, dict[str, str]]:
        return secrets_of(self.documents)

    def variables(self, pod: str, container: str) -> dict[str, str]:
        """Return the variables of a container, with its mounts on this machine."""
        spec = pods(self.documents)[pod]
        one = containers(spec)[container]
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        found = variables(one, self.secrets)
        for mount in one["volumeMounts"]:
            if (secret := volumes[mount["name"]].get("secret")) is None:
                continue
            place = self.root / pod / mount["name"]
            self._mount(place, secret)
            for name, value in found.items():
                if f"{value}/".startswith(f"{mount['mountPath']}/"):
                    found[name] = value.replace(mount["mountPath"], str(place), 1)
        return found

    def _mount(self, place: Path, secret: Document) -> None:
        place.mkdir(parents=True)
        keys = self.secrets[secret["secretName"]]
        paths = {one["key"]: one["path"] for one in secret.get("items", [])} or {k: k for k in keys}
        for key, path in paths.items():
            (place / path).write_text(keys[key])
            (place / path).chmod(secret["defaultMode"])
        place.chmod(0o555)


@pytest.fixture
def release(tmp_path: Path) -> Release:
    """Two services: one with a Deployment that KEDA scales, one with Jobs."""
    handler = {
        "engine": "handler:tests.proxies.handler:Streams",
        "window": 1,
        "graceS": 5,
        "env": {"SEEN": str(tmp_path / "seen"), "PRICE": "$$5 $(SEEN)"},
    }
    values = {
        "services": {
            "demo": {
                "settings": {"max_delivery": 3},
                "worker": handler,
                "autoscaling": {"mode": "scaledObject", "jobsPerWorker": 4},
            },
            "batch": {"autoscaling": {"mode": "scaledJob", "max": 3, "idleS": 60}},
        }
    }
    return Release(template(values), tmp_path)


@pytest.fixture
async def redis(release: Release, tmp_path: Path) -> AsyncIterator[int]:
    """Run Redis with the command of the chart; return its port."""
    pod = pods(release.documents)[REDIS]
    (container,) = pod["containers"]
    auth, data, port = tmp_path / "auth.conf", tmp_path / "data", free_port()
    auth.write_text(release.secrets[REDIS]["auth.conf"])
    data.mkdir()
    here = {
        "redis-server": str(find_redis_server().path),
        "/auth/auth.conf": str(auth),
        "/data": str(data),
    }
    command = [here.get(word, word) for word in container["command"]]
    leash = [sys.executable, "-I", "-S", str(LEASH), str(os.getpid()), str(int(signal.SIGKILL))]
    with (tmp_path / "redis.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(*leash, *command, "--port", str(port), "--bind", "127.0.0.1"), stdout=log, stderr=log
        )

    async def is_ready() -> bool:
        assert process.returncode is None, (tmp_path / "redis.log").read_text()
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return False
        writer.close()
        return True

    try:
        await wait_until(is_ready, "Redis accepts connections")
        yield port
    finally:
        process.terminate()
        await process.wait()
    assert (data / "appendonlydir").is_dir(), "entries are on disk"


@pytest.fixture
async def service(
    release: Release, redis: int, tmp_path: Path, processes: list[ServerProcess]
) -> QueueServiceProcess:
    """Run the queue service with the variables of the chart."""
    env = release.variables(QUEUE, "queue-service")
    url = urlsplit(env["PENSTOCK_REDIS_URL"])
    assert (url.hostname, url.port) == (REDIS, 6379)
    env["PENSTOCK_REDIS_URL"] = f"redis://:{url.password}@127.0.0.1:{redis}{url.path}"
    service = QueueServiceProcess(env, log_path=tmp_path / "service.log")
    processes.append(service)
    await service.start()
    return service


@pytest.mark.slow
async def test_keda_reads_the_number_of_jobs(
    release: Release,
    service: QueueServiceProcess,
    tmp_path: Path,
    processes: list[ServerProcess],
) -> None:
    token = release.secrets["ours-penstock-tokens"]["demo"]
    async with AsyncQueueClient(service.url, "demo", token=token) as client:
        assert await _figures(release, service, "demo") == {"deliverable": 0, "running": 0}
        assert _wanted(release, {"deliverable": 0, "running": 0}) == 0
        jobs = [await client.jobs.submit("x") for _ in range(3)]
        # Without a worker: above 0, so that KEDA starts one.
        assert await _figures(release, service, "demo") == {"deliverable": 3, "running": 0}
        assert _wanted(release, {"deliverable": 3, "running": 0}) == 0.75

        env = release.variables("ours-penstock-worker-demo", "inference-worker")
        assert env["PRICE"] == "$$5 $(SEEN)"
        assert env.pop("PENSTOCK_WORKER_QUEUE_URL") == ADDRESS
        env["PENSTOCK_WORKER_QUEUE_URL"] = service.url
        worker = WorkerProcess(env, log_path=tmp_path / "worker.log")
        processes.append(worker)
        await worker.start()

        async def is_busy() -> bool:
            figures = await _figures(release, service, "demo")
            return figures == {"deliverable": 2, "running": 1}

        await wait_until(is_busy, "the worker runs one job")
        # The worker is busy, so it stays, although four jobs per worker are wanted.
        assert _wanted(release, {"deliverable": 2, "running": 1}) == 1
        await _check_probes(release, "ours-penstock-worker-demo", worker.metrics_port)
        (tmp_path / "seen").touch()
        for job in jobs:
            await client.jobs.result(job.id, timeout_s=30)

        async def is_idle() -> bool:
            figures = await _figures(release, service, "demo")
            return figures == {"deliverable": 0, "running": 0}

        await wait_until(is_idle, "nothing waits or runs")


async def test_keda_starts_jobs_for_what_waits(
    release: Release, service: QueueServiceProcess
) -> None:
    token = release.secrets["ours-penstock-tokens"]["batch"]
    async with AsyncQueueClient(service.url, "batch", token=token) as client:
        await client.jobs.submit("x")
        await client.jobs.submit("y")
    assert await _figures(release, service, "batch") == {"deliverable": 2}
    await _check_probes(release, QUEUE, service.port)
    env = release.variables("ours-penstock-worker-batch", "inference-worker")
    assert env["PENSTOCK_WORKER_EXIT_WHEN_IDLE_S"] == "60"


async def _figures(
    release: Release, service: QueueServiceProcess, name: str
) -> dict[str, int | float]:
    """Send each query as KEDA does, and return what it reads."""
    kind = "ScaledObject" if name == "demo" else "ScaledJob"
    resource = of_kind(release.documents, kind, name)
    found = {}
    async with aiohttp.ClientSession() as session:
        for trigger in resource["spec"]["triggers"]:
            metadata = trigger["metadata"]
            assert (trigger["type"], metadata["authMode"]) == ("metrics-api", "bearer")
            reference = trigger["authenticationRef"]["name"]
            authentication = of_kind(release.documents, "TriggerAuthentication", reference)
            (secret,) = authentication["spec"]["secretTargetRef"]
            token = release.secrets[secret["name"]][secret["key"]]
            url = urlsplit(metadata["url"])
            headers = {"Host": url.netloc, "Authorization": f"Bearer {token}"}
            assert metadata["url"].startswith(ADDRESS)
            async with session.get(service.url + url.path, headers=headers) as answer:
                assert answer.status == 200, await answer.text()
                value = (await answer.json())[metadata["valueLocation"]]
            # The scaler refuses null, and text that is no number.
            assert isinstance(value, int | float)
            found[metadata["valueLocation"]] = value
    return found


def _wanted(release: Release, figures: dict[str, int]) -> float:
    """Return what KEDA's formula makes of the figures: workers, because its target is 1."""
    modifiers = of_kind(release.documents, "ScaledObject")["spec"]["advanced"]["scalingModifiers"]
    assert (modifiers["target"], modifiers["activationTarget"]) == ("1", "0")
    # Both languages read this formula in the same way.
    return float(eval(modifiers["formula"], {"max": max}, figures))


async def _check_probes(release: Release, pod: str, port: int) -> None:
    """Ask as the kubelet does, by address."""
    container = pods(release.documents)[pod]["containers"][0]
    async with aiohttp.ClientSession() as session:
        for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
            path = container[kind]["httpGet"]["path"]
            headers = {"Host": "10.1.2.3:8080"}
            url = f"http://127.0.0.1:{port}{path}"
            async with session.get(url, headers=headers) as answer:
                assert answer.status == 200, (kind, await answer.text())
