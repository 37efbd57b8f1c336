"""Real processes for tests: the queue service and the worker, as an operator starts them.

A process is started on a free port, waited for until it says that it is ready, and can be hurt:
`kill` is SIGKILL, `freeze` is SIGSTOP, `thaw` is SIGCONT.  What it logged is in `log`.
"""

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from client_sdk.leash import LEASH
from tests.preloaded import Preloaded
from tests.waiting import wait_until, wait_until_blocking

#: Forks queue services and workers, in a run of pytest; else each start is a new interpreter.
PRELOADED: Preloaded | None = None

#: Seconds a process may take until it is ready; importing alone takes one on a busy machine.
START_S = 30.0

#: Seconds from SIGTERM until a test calls a process stuck.
STOP_S = 20.0

#: Token of the services and of the admin API in tests.
TOKEN = "a-test-token"
ADMIN_TOKEN = "an-admin-test-token"


#: Below the ports that the kernel gives to outgoing connections, of which other tests that run at
#: the same time open many.  A port from there could be taken between our look and its use.
PORTS = range(10_000, 32_000)


def free_port() -> int:
    """Return a TCP port on which nothing listens now."""
    while True:
        # Not `random`: every test starts from the same seed, in every process of a parallel run.
        port = secrets.choice(PORTS)
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port


class ServerProcess:
    """A child process that answers HTTP 200 on `ready_url` once it serves.

    argv: what follows the Python interpreter.  env: laid over this process's environment, from
    which every PENSTOCK_ variable is taken away first.
    """

    def __init__(
        self, argv: list[str], *, env: Mapping[str, str], log_path: Path, ready_url: str
    ) -> None:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("PENSTOCK_")}
        # The leash ends the process when the test run itself is killed.
        leash = [sys.executable, "-I", "-S", str(LEASH), str(os.getpid()), str(int(signal.SIGKILL))]
        self.name = " ".join(argv)
        self.argv = [*leash, sys.executable, *argv]
        self.env = {**inherited, **env}
        self.log_path = log_path
        self.ready_url = ready_url
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """Everything the process wrote so far."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    @property
    def pid(self) -> int:
        return self._child().pid

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def spawn(self) -> None:
        """Start the process and do not wait for it."""
        assert not self.running, "the process runs already"
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                self.argv,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # A group of its own: a worker's engine process ends with the worker in `kill_all`.
                start_new_session=True,
            )

    def ready(self) -> bool:
        """Say whether it serves; fail when it has ended instead."""
        if not self.running:
            raise RuntimeError(f"`{self.name}` ended while it was awaited:\n{self.log}")
        try:
            with urllib.request.urlopen(self.ready_url, timeout=1) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    async def start(self) -> None:
        """Start the process and return once it is ready."""
        self.spawn()
        await wait_until(self.ready, f"`{self.name}` is ready", START_S)

    def start_blocking(self) -> None:
        """Do what `start` does, for fixtures without an event loop."""
        self.spawn()
        wait_until_blocking(self.ready, f"`{self.name}` is ready", START_S)

    async def stop(self) -> int:
        """Send SIGTERM, wait for the end, and return the exit status."""
        self._terminate()
        await wait_until(lambda: not self.running, f"`{self.name}` has ended", STOP_S)
        return self._child().wait(0)

    def stop_blocking(self) -> int:
        """Do what `stop` does, for fixtures without an event loop."""
        self._terminate()
        wait_until_blocking(lambda: not self.running, f"`{self.name}` has ended", STOP_S)
        return self._child().wait(0)

    def kill(self) -> None:
        """End the process at once, as `kill -9` does."""
        child = self._child()
        child.kill()
        child.wait()

    def kill_all(self) -> None:
        """End the process and every process it has started; harmless when it has ended."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def freeze(self) -> None:
        """Stop the process without closing its connections, as a hung machine does."""
        self._child().send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._child().send_signal(signal.SIGCONT)

    def _terminate(self) -> None:
        if self.running:
            self._child().terminate()

    def _child(self) -> subprocess.Popen[bytes]:
        assert self.process is not None, "the process was never started"
        return self.process


class QueueServiceProcess(ServerProcess):
    """`python -m queue_service` on a port of its own; `url` is where it serves."""

    def __init__(self, env: Mapping[str, str], *, log_path: Path, port: int | None = None) -> None:
        self.port = free_port() if port is None else port
        self.url = f"http://127.0.0.1:{self.port}"
        super().__init__(
            ["-m", "queue_service"],
            env={**env, "PENSTOCK_PORT": str(self.port)},
            log_path=log_path,
            ready_url=f"{self.url}/readyz",
        )


class WorkerProcess(ServerProcess):
    """`python -m inference_worker`; ready once its metrics are served."""

    def __init__(self, env: Mapping[str, str], *, log_path: Path) -> None:
        self.metrics_port = free_port()
        self.metrics_url = f"http://127.0.0.1:{self.metrics_port}/metrics"
        super().__init__(
            ["-m", "inference_worker"],
            env={**env, "PENSTOCK_WORKER_METRICS_PORT": str(self.metrics_port)},
            log_path=log_path,
            ready_url=self.metrics_url,
        )


def service_env(
    *, redis_url: str, key_prefix: str, services: list[dict[str, object]], **settings: object
) -> dict[str, str]:
    """Return the environment of a queue service.

    services: as in PENSTOCK_SERVICES; one without a token gets TOKEN.  settings: fields of
    `queue_service.settings.process.Settings` by name.
    """
    fields: dict[str, object] = {
        "redis_url": redis_url,
        "key_prefix": key_prefix,
        "admin_token": ADMIN_TOKEN,
        "services": json.dumps([{"token": TOKEN, **service} for service in services]),
        **settings,
    }
    return {f"PENSTOCK_{name.upper()}": str(value) for name, value in fields.items()}


@contextmanager
def running_service(
    log_path: Path,
    *,
    redis_url: str,
    key_prefix: str,
    services: list[dict[str, object]],
    **settings: object,
) -> Iterator[QueueServiceProcess]:
    """Run a queue service for a fixture that many tests share; settings as in `service_env`."""
    env = service_env(redis_url=redis_url, key_prefix=key_prefix, services=services, **settings)
    service = QueueServiceProcess(env, log_path=log_path)
    try:
        service.start_blocking()
        yield service
        assert service.stop_blocking() == 0, service.log
    finally:
        service.kill_all()


def worker_env(*, queue_url: str, service: str, **settings: object) -> dict[str, str]:
    """Return the environment of a worker; settings: fields of its settings by name."""
    fields: dict[str, object] = {
        "queue_url": queue_url,
        "service": service,
        "token": TOKEN,
        "engine": "echo",
        **{
            name: json.dumps(value) if isinstance(value, dict) else value
            for name, value in settings.items()
        },
    }
    return {f"PENSTOCK_WORKER_{name.upper()}": str(value) for name, value in fields.items()}
