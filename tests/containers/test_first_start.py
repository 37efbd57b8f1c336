"""A compose project that nobody has configured: its tokens, its rights, its packages.

Skipped where no engine runs.
"""

import json
import re
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers.compose import Compose, DockerFailed, reason_without_engine
from tests.running import free_port
from tests.waiting import wait_until_blocking

REASON = reason_without_engine()
DOCUMENT = Path(__file__).parents[2] / "docs" / "operations.md"

pytestmark = [
    pytest.mark.containers,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(REASON is not None, reason=str(REASON)),
]


@pytest.fixture(scope="module")
def compose() -> Iterator[Compose]:
    settings = {"PENSTOCK_WORKER_PACKAGES": "toolz==1.0.0"}
    compose = Compose(port=free_port(), settings=settings)
    try:
        compose.compose("build")
        compose.up(workers=1)
        yield compose
    finally:
        compose.remove()


def status(url: str, token: str, body: bytes | None = None) -> int:
    request = urllib.request.Request(url, body, {"Authorization": token})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_tokens_are_generated_and_workers_have_one_that_only_works(compose: Compose) -> None:
    (service,) = compose.containers("queue-service")
    (worker,) = compose.containers("inference-worker")
    assert "the token of its clients is in /tokens/demo" in compose.logs()
    token = compose.execute(service, "cat", "/tokens/demo").strip()
    assert len(token) > 30
    assert compose.execute(service, "stat", "-c", "%a %u", "/tokens/demo").split() == [
        "600",
        "10001",
    ]
    workers = compose.execute(worker, "cat", "/worker-tokens/demo").strip()
    assert workers != token
    assert compose.execute(worker, "ls", "-A", "/tokens").strip() == ""
    environment = compose.execute(worker, "env")
    assert token not in environment

    queue = f"{compose.url}/api/predict/demo"
    assert status(queue, "penstock-local", b"x") == 401
    assert status(queue, workers, b"x") == 403
    assert status(queue, token, b"x") == 200
    wait_until_blocking(
        lambda: status(f"{queue}/sink?_timeout_=5s", token) == 200, "the job has its result", 60
    )
    # They stay over a restart.
    compose.compose("restart", "queue-service")
    wait_until_blocking(
        lambda: compose.inspect(service)["State"]["Health"]["Status"] == "healthy", "it is up", 60
    )
    assert compose.execute(service, "cat", "/tokens/demo").strip() == token


def test_containers_have_limits_and_reap_for_themselves(compose: Compose) -> None:
    for name in ("redis", "queue-service", "inference-worker"):
        (container,) = compose.containers(name)
        host = compose.inspect(container)["HostConfig"]
        assert host["Memory"] > 0
        assert host["PidsLimit"] > 0
        assert host["ReadonlyRootfs"] is True
    (worker,) = compose.containers("inference-worker")
    assert not compose.inspect(worker)["HostConfig"].get("Init")
    # A child whose parent has ended is the first process's, and is gone once it ends.
    orphan = "import os, sys; os.fork() or (os.fork() or os._exit(0), os._exit(0))"
    compose.execute(worker, "python", "-c", orphan)
    zombies = (
        "import pathlib; print([p.read_text() for p in pathlib.Path('/proc').glob('[0-9]*/stat')"
        " if ') Z ' in p.read_text()])"
    )

    def none_left() -> bool:
        return compose.execute(worker, "python", "-c", zombies).strip() == "[]"

    wait_until_blocking(none_left, "every zombie was reaped")


def test_packages_of_ones_own_are_in_the_workers_image(compose: Compose, tmp_path: Path) -> None:
    (worker,) = compose.containers("inference-worker")
    assert compose.execute(worker, "python", "-c", "import toolz; print(1)").strip() == "1"

    # And the image on top, as the page says.
    found = re.search(
        r"a test builds this -->\n```dockerfile\n(.*?)```", DOCUMENT.read_text(), re.S
    )
    assert found
    text = found[1].replace("penstock/inference-worker", compose.images[1])
    (tmp_path / "Dockerfile").write_text(text.replace("scikit-learn", "toolz"))
    (tmp_path / "my_model.py").write_text("import toolz\n\n\nclass MyModel:\n    pass\n")
    image = f"{compose.project}/on-top"
    compose.images.append(image)
    built = subprocess.run(
        ["docker", "build", "-q", "-t", image, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert built.returncode == 0, built.stderr
    ran = subprocess.run(
        ["docker", "run", "--rm", image, "python", "-c", "import my_model, os; print(os.getuid())"],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert ran.stdout.strip() == "10001", ran.stderr


def test_a_worker_reads_nothing_of_the_queue_services_tokens(compose: Compose) -> None:
    (worker,) = compose.containers("inference-worker")
    mounts = {one["Destination"] for one in compose.inspect(worker)["Mounts"]}
    assert "/tokens" not in mounts
    with pytest.raises(DockerFailed, match="Read-only file system"):
        compose.execute(worker, "touch", "/worker-tokens/mine")
    assert json.loads(compose.look(worker, "/healthz"))["connected"] is True
