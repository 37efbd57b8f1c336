"""The SDK in a virtual environment of its own, and services for it to talk to."""

import itertools
import os
import subprocess
import sys
import venv
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.compatibility.eas_sdk import VERSION, EasClient, EasSdk
from tests.leaks import wait_for_no_leaks
from tests.running import QueueServiceProcess, running_service

#: Where the environment is kept between runs; git ignores it.
CACHE = Path(__file__).parents[2] / ".penstock" / "environments"

#: What pip says when no registry answers, or none that has the package.
UNREACHABLE = (
    "No matching distribution found",
    "Could not find a version that satisfies",
    "Failed to establish a new connection",
    "Temporary failure in name resolution",
    "ConnectTimeoutError",
    "ProxyError",
)

#: Every test takes a service of its own from this many in one process.
SERVICES = 60

KEY_PREFIX = "test-compatibility"


@pytest.fixture(scope="session")
def eas_python() -> Path:
    """Return the interpreter of an environment with the SDK, made on the first run."""
    home = CACHE / f"eas-prediction-{VERSION}-py{sys.version_info[0]}{sys.version_info[1]}"
    if not home.exists():
        making = home.with_name(f"{home.name}-{os.getpid()}")
        venv.create(making, with_pip=True)
        install = [str(making / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        done = subprocess.run(
            [*install, f"eas-prediction=={VERSION}"], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            offline = any(words in done.stderr for words in UNREACHABLE)
            if offline and os.environ.get("CI") != "true":
                pytest.skip(f"pip finds no registry with eas-prediction {VERSION}")
            pytest.fail(f"pip cannot install eas-prediction {VERSION}:\n{done.stderr}")
        # Renamed only when it is complete; an interpreter finds its home by where it lies.
        making.rename(home)
    return home / "bin" / "python"


@pytest.fixture(scope="session")
def sdk(eas_python: Path) -> Iterator[EasSdk]:
    driver = EasSdk(eas_python)
    yield driver
    driver.close()


@pytest.fixture(scope="session")
def shared_service(
    redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[QueueServiceProcess]:
    """Run one queue service with many services for all tests that do not hurt it."""
    with running_service(
        tmp_path_factory.mktemp("compatibility") / "service.log",
        redis_url=redis_url,
        key_prefix=KEY_PREFIX,
        services=[{"name": f"svc-{number}"} for number in range(SERVICES)],
    ) as service:
        yield service


@pytest.fixture(scope="session")
def service_numbers() -> Iterator[int]:
    return itertools.count()


@dataclass
class Pair:
    """The two queues of one service, and every client that a test has made for them."""

    sdk: EasSdk
    endpoint: str
    service: str
    clients: list[EasClient] = field(default_factory=list)

    def input(self, **options: object) -> EasClient:
        """Make a client of the input queue; options as in `EasSdk.client`."""
        return self._client(self.service, options)

    def sink(self, **options: object) -> EasClient:
        """Make a client of the sink."""
        return self._client(f"{self.service}/sink", options)

    def close(self) -> None:
        """Close every watch and empty both queues."""
        for client in self.clients:
            for watch in client.watches:
                watch.close()
        for queue in (self.input(), self.sink()):
            queue.truncate(int(queue.attributes().get("stream.lastEntry", 0)) + 1)

    def _client(self, queue: str, options: dict[str, object]) -> EasClient:
        client = self.sdk.client(self.endpoint, queue, **options)  # type: ignore[arg-type]
        self.clients.append(client)
        return client


@pytest.fixture
def pair(
    sdk: EasSdk,
    shared_service: QueueServiceProcess,
    service_numbers: Iterator[int],
    redis_url: str,
) -> Iterator[Pair]:
    """Give the test a service of its own; afterwards nothing of it may be left in Redis."""
    made = Pair(sdk, shared_service.url, f"svc-{next(service_numbers)}")
    yield made
    made.close()
    wait_for_no_leaks(redis_url, KEY_PREFIX, service=made.service)
