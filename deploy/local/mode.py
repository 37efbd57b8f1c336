"""Local mode: Redis, the queue service and workers, as the same processes as in production.

    start:  lock -> Redis -> queue service (ready) -> services with their workers -> announcement
    stop:   workers drain -> queue service -> Redis

The order of stopping matters: a draining worker still delivers results, and the queue service must
store them.
"""

import asyncio
import json
import os
import secrets
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp

from client_sdk.certificates import CA_FILE_VARIABLE
from client_sdk.setting_names import is_unknown
from deploy.autoscaling.loop import Loop, LoopOptions
from deploy.autoscaling.scale_api import ScaleApi
from deploy.errors import ChildFailed, PortTaken
from deploy.local.autoscale_driver import LocalDriver
from deploy.local.child import Child
from deploy.local.control import Control
from deploy.local.data_dir import DEFAULT_PATH, DataDir, Running
from deploy.local.keeper import HURRIED_GRACE_S, Keeper
from deploy.local.own_service import OwnService
from deploy.local.redis_server import (
    STOP_GRACE_S,
    Fsync,
    RedisServer,
    free_port,
    is_free,
    is_worth_showing,
)
from deploy.local.service import Instance, LocalService
from deploy.local.services import LocalServices
from deploy.local.wish import Asked, WorkerGpus
from deploy.service_json.plan import WorkerPlan

#: Seconds the queue service may take until it is ready.
READY_TIMEOUT_S = 30.0

#: Seconds between two looks at a queue service that is starting.
LOOK_EVERY_S = 0.05

#: Seconds that the queue service has to stop: its `drain_s` and a little more.
SERVICE_GRACE_S = 15.0

HOST = "127.0.0.1"

#: The queue service is on this machine: it costs little to ask it more often.
LOOP = LoopOptions(interval_s=0.5, list_every_s=2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalOptions:
    """The options of a local mode.

    host: the address to listen on.  port: 0 takes a free one.  tls_cert, tls_key: files; the port
    then speaks HTTPS, and this machine uses another port without TLS.  token: "" takes the
    generated one of the data directory.  engine_options: JSON, for the engine.  window: jobs that a
    worker takes at once; None lets the engine choose.  processes: of the queue service, on one
    port.  worker_grace_s: seconds that a stopping worker has to finish its jobs.  limits: settings
    of the service.  given: names of the options, and of the settings in limits, that are no
    defaults: they change a service that exists.  gpus: of each worker.  autoscaling: False leaves
    the decisions to an autoscaler whose driver starts workers on other machines.
    """

    data_dir: Path = DEFAULT_PATH
    service: str = "demo"
    token: str = ""
    port: int = 8080
    processes: int = 1
    workers: int = 1
    engine: str = "echo"
    engine_options: str = ""
    window: int | None = None
    worker_grace_s: float = 30.0
    limits: Mapping[str, Any] = field(default_factory=dict)
    given: frozenset[str] = frozenset()
    gpus: WorkerGpus = field(default_factory=WorkerGpus)
    host: str = HOST
    tls_cert: str = ""
    tls_key: str = ""
    appendfsync: Fsync = "always"
    autoscaling: bool = True


class LocalMode:
    """A running Penstock on this machine.

    `on_line(name, text)` receives every line of every process, in separate threads.
    """

    def __init__(self, options: LocalOptions, *, on_line: Callable[[str, str], None]) -> None:
        self.options = options
        #: Where the queue service listens, after the start.
        self._port = options.port
        #: The service that the options describe, after the start.
        self.own: LocalService | None = None
        self._on_line = on_line
        self._data_dir = DataDir(options.data_dir)
        self._held = ExitStack()
        self._redis: RedisServer | None = None
        self._servers: list[Keeper] = []
        self._running: Running | None = None
        self._services: LocalServices | None = None
        #: The workers that were there at the start: without them, local mode is of no use.
        self._first_workers: tuple[Instance, ...] = ()
        self._control: Control | None = None
        self._autoscaling: asyncio.Task[None] | None = None

    @property
    def running(self) -> Running:
        """The URLs and tokens; known after the start."""
        if self._running is None:
            raise ChildFailed("local mode", "is not running", ())
        return self._running

    @property
    def workers(self) -> list[Keeper]:
        """The workers of the service that the options describe."""
        return [one.keeper for one in self.own.instances] if self.own else []

    async def start(self) -> Running:
        """Start everything, and return when it accepts jobs; stops everything after an error.

        Raises one of `deploy.errors`.
        """
        try:
            self._held.enter_context(self._data_dir.lock())
            self._data_dir.check_whole()
            running = self._where()
            redis = await self._start_redis()
            await self._start_service(running, redis)
            running = await self._start_services(running)
            self._data_dir.announce(running, redis_url=redis.url)
            self._running = running
            if self.options.autoscaling:
                task = asyncio.create_task(self._autoscale(running), name="autoscaling")
                self._autoscaling = task
        except BaseException:
            await self.stop()
            raise
        return running

    async def failure(self) -> None:
        """Wait until a process fails for good, and raise its error."""
        failures = [server.failure() for server in self._servers]
        failures += [worker.failure() for worker in self._first_workers]
        waits = [asyncio.create_task(failure) for failure in failures]
        try:
            for first in asyncio.as_completed(waits):
                await first
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def stop(self) -> None:
        """Stop workers, queue service and Redis, in this order; a second call does nothing."""
        scaling, self._autoscaling = self._autoscaling, None
        if scaling is not None:
            scaling.cancel()
            await asyncio.gather(scaling, return_exceptions=True)
        control, self._control = self._control, None
        if control is not None:
            await control.stop()
        if self._services is not None:
            await self._services.stop()
        self._services = self.own = None
        for server in reversed(self._servers):
            await server.stop()
            if server.child is not None:
                self._on_line(server.name, "stopped")
        self._servers, self._running = [], None
        self._held.close()

    def hurry(self) -> None:
        """Make a `stop` that waits return soon.  Accepted jobs are on disk in any case."""
        for keeper in self._servers:
            keeper.hurry(grace_s=HURRIED_GRACE_S)
        if self._services is not None:
            self._services.hurry(grace_s=HURRIED_GRACE_S)

    def _where(self) -> Running:
        options = self.options
        port = options.port or free_port()
        if not is_free(port, options.host):
            raise PortTaken(port)
        self._port = port
        url = f"http://{_reached_at(options.host)}:{port}"
        if options.tls_cert:
            # The certificate may have any name, and our own processes need to reach the service.
            url = f"http://{HOST}:{free_port()}"
        return Running(
            url=url,
            service=options.service,
            token=options.token or self._data_dir.token("token"),
            admin_token=self._data_dir.token("admin-token"),
            pid=os.getpid(),
        )

    async def _start_redis(self) -> RedisServer:
        redis = RedisServer(
            self._data_dir.redis,
            # Other users of the machine can reach its port.  The password may be new each time,
            # because only our own children need it.
            password=secrets.token_urlsafe(),
            appendfsync=self.options.appendfsync,
            on_line=self._on_redis_line,
        )
        self._redis = redis

        async def start() -> Child:
            await redis.start()
            return redis.child

        await self._keep("redis", start, STOP_GRACE_S, self._servers)
        return redis

    def _on_redis_line(self, text: str) -> None:
        if is_worth_showing(text):
            self._on_line("redis", text)

    async def _start_service(self, running: Running, redis: RedisServer) -> None:
        env = {
            "PENSTOCK_HOST": self.options.host,
            "PENSTOCK_PORT": str(self._port),
            "PENSTOCK_TLS_CERT_FILE": self.options.tls_cert,
            "PENSTOCK_TLS_KEY_FILE": self.options.tls_key,
            "PENSTOCK_LOOPBACK_PORT": running.url.rpartition(":")[2]
            if self.options.tls_cert
            else "0",
            "PENSTOCK_PROCESSES": str(self.options.processes),
            "PENSTOCK_REDIS_URL": redis.url,
            "PENSTOCK_FILES_DIR": str(self._data_dir.files.resolve()),
            # All services are in the registry; a variable of the user must not add others.
            "PENSTOCK_SERVICES": "[]",
            "PENSTOCK_ADMIN_TOKEN": running.admin_token,
        }

        async def start() -> Child:
            child = self._spawn("queue-service", "queue_service", env)
            await _until_ready(child, running.url, admin_token=running.admin_token)
            return child

        await self._keep("queue-service", start, SERVICE_GRACE_S, self._servers)

    async def _start_services(self, running: Running) -> Running:
        """Create or change our own service, run all others, and start the control API."""
        services = self._services = LocalServices(
            self._data_dir.services,
            running,
            self._spawn_worker,
            on_line=self._on_line,
            grace_s=self.options.worker_grace_s,
        )
        own = self.own = await services.begin(self._own_service(running))
        self._first_workers = tuple(own.instances)
        await services.load()
        self._control = Control(services)
        return replace(
            running,
            token=own.wish.token.get_secret_value(),
            control_url=await self._control.start(),
            control_token=self._control.token,
        )

    def _own_service(self, running: Running) -> OwnService:
        options = self.options
        asked = Asked(
            token=running.token,
            instances=options.workers,
            worker=WorkerPlan(
                engine=options.engine,
                engine_options=json.loads(options.engine_options or "{}"),
                window=options.window,
                # Here a variable of the environment may set it.
                run_timeout_s=None,
            ),
            folder=str(Path.cwd()),
            settings=dict(options.limits),
            gpus=options.gpus,
        )
        worker_token = self._data_dir.token("worker-token")
        return OwnService(running.service, asked, options.given, worker_token)

    async def _autoscale(self, running: Running) -> None:
        """Scale the services that have an autoscaler or a schedule."""
        assert self._services is not None, "autoscale before the services"
        driver = LocalDriver(self._services)
        async with ScaleApi(running.url, running.admin_token) as api:
            say = partial(self._on_line, "autoscaler")
            await Loop(api, driver, say=say, options=LOOP, can_scale=driver.can_scale).run()

    async def _keep(
        self, name: str, start: Callable[[], Awaitable[Child]], grace_s: float, into: list[Keeper]
    ) -> None:
        on_event = partial(self._on_line, name)
        keeper = Keeper(name, start, on_event=on_event, grace_s=grace_s)
        # Append it before the start, so that a stop in the meantime finds it.
        into.append(keeper)
        await keeper.start()

    def _spawn_worker(self, name: str, env: Mapping[str, str], folder: Path) -> Child:
        return self._spawn(name, "inference_worker", env, folder)

    def _spawn(
        self, name: str, module: str, env: Mapping[str, str], folder: Path | None = None
    ) -> Child:
        # Pass on the user's settings, except unknown ones, of which the command has already warned.
        # Workers run models, which must not read the tokens of the queue service.
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not is_unknown(name) and (module != "inference_worker" or _is_for_workers(name))
        }
        # Python buffers what it writes to a pipe, and lines would arrive late.
        inherited["PYTHONUNBUFFERED"] = "1"
        return Child.start(
            name,
            # -P: a module in the folder must not replace one of Python or of a library.
            [sys.executable, "-P", "-m", module],
            on_line=partial(self._on_line, name),
            env={**inherited, **env},
            cwd=folder,
        )


def _reached_at(host: str) -> str:
    """Return the host, for a URL, at which this machine reaches a listener on this address."""
    host = {"0.0.0.0": HOST, "::": "::1"}.get(host, host)
    return f"[{host}]" if ":" in host else host


def _is_for_workers(variable: str) -> bool:
    ours = ("PENSTOCK_WORKER_", CA_FILE_VARIABLE)
    return variable.startswith(ours) or not variable.startswith("PENSTOCK_")


async def _until_ready(child: Child, url: str, *, admin_token: str) -> None:
    """Wait until the queue service is ready; kill it after the time-out.

    Another program may have taken the port in the meantime, but it does not know the admin token.
    """
    answer = "no response"
    headers = {"Authorization": admin_token}
    try:
        async with asyncio.timeout(READY_TIMEOUT_S), aiohttp.ClientSession() as session:
            while child.exit_code is None:
                try:
                    async with session.get(f"{url}/readyz") as response:
                        is_ready = response.status == 200
                        answer = f"{response.status} {(await response.text())[:200]}"
                    if is_ready:
                        async with session.get(f"{url}/v1/services", headers=headers) as response:
                            if response.status == 200:
                                return
                            answer = f"another program responds at {url}"
                except aiohttp.ClientError as error:
                    answer = str(error)
                await asyncio.sleep(LOOK_EVERY_S)
    except TimeoutError:
        await child.kill()
        why = f"was not ready within {READY_TIMEOUT_S:g} s ({answer})"
        raise ChildFailed(child.name, why, list(child.last_lines)) from None
    except BaseException:
        await child.kill()
        raise
    raise ChildFailed(child.name, f"ended with {child.exit_code}", list(child.last_lines))
