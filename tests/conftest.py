"""The bench: a real Redis, the queue service and workers as real processes, or in this process.

    redis_server   one real redis-server for the whole run
    redis_url      its URL; with --quick that of a fakeredis in this process
    redis          a client of it, for a look at what is stored
    own_redis      a real redis-server of this test alone, which it may stop or kill
    key_prefix     what every Redis key of this test begins with
    start_service  starts `python -m queue_service`; called twice it gives two on one Redis
    start_worker   starts `python -m inference_worker` for a service
    serve          serves the queue service in this process, on a free port
    bucket         S3-compatible storage, which can fail

What was started is stopped after the test, workers first.  Between workers and services the leak
check of `tests/leaks.py` looks at Redis.  A process that does not end by SIGTERM fails the test.
"""

import asyncio
import inspect
import itertools
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from pathlib import Path
from typing import Any, Protocol

import hypothesis
import pytest
from aiohttp import web
from redis.asyncio import Redis
from xdist.scheduler import Scheduling

from deploy.local.redis_server import RedisServer
from tests import forking, running
from tests.leaks import (
    LEAVES_ENTRIES,
    LEAVES_SUBSCRIBERS,
    allowed_by,
    forget,
    tasks_left,
    wait_for_no_leaks,
)
from tests.preloaded import NEW_INTERPRETERS, Preloaded
from tests.quick import (
    PROCESS,
    REAL_REDIS,
    is_quick_path,
    keep_quick,
    refuse_processes,
)
from tests.running import (
    ADMIN_TOKEN,
    TOKEN,
    QueueServiceProcess,
    ServerProcess,
    WorkerProcess,
    service_env,
    worker_env,
)
from tests.s3_server import bucket, storage_url  # noqa: F401
from tests.scheduling import AloneLast, is_alone
from tests.waiting import wait_until

#: The service of a test that names none.
SERVICE: dict[str, object] = {"name": "svc"}

#: The profile of Hypothesis in which a case may take as long as it takes.
ANY_SPEED = "any-speed"

_numbers = itertools.count(1)

_failed = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--quick", action="store_true", help="only what needs no other process")


def pytest_configure(config: pytest.Config) -> None:
    _keep_bytecode()
    # The models of tests are so small that threads of torch only wait for each other, and burn
    # half of the processor time meanwhile.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    for mark in (
        f"{PROCESS}: the test starts processes without a fixture of this file",
        f"{REAL_REDIS}(reason): what fakeredis does differently",
        f"{LEAVES_ENTRIES}: the test leaves entries in its queues on purpose",
        f"{NEW_INTERPRETERS}(reason): the test depends on how its processes start",
        f"{LEAVES_SUBSCRIBERS}: the test ends with leases that no service is there to end",
    ):
        config.addinivalue_line("markers", mark)
    _stop_ignoring_signals()
    # Hypothesis is to judge what a test does, not how fast: a busy machine takes its time.
    too_slow = [hypothesis.HealthCheck.too_slow]
    hypothesis.settings.register_profile(ANY_SPEED, deadline=None, suppress_health_check=too_slow)
    hypothesis.settings.load_profile(ANY_SPEED)
    if forking.is_available():
        running.PRELOADED = Preloaded()
        config.pluginmanager.register(running.PRELOADED)


def _keep_bytecode() -> None:
    """Write compiled modules, also where the environment turns this off.

    Otherwise every process of the run compiles all that it imports, and rewrites every test's
    asserts: with hundreds of processes this is a tenth of the run.
    """
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False


def _stop_ignoring_signals() -> None:
    """Have the handlers of a program in a shell.

    `nohup`, or a script that starts tests in the background, lets them ignore signals, and so would
    every process that they start.
    """
    for number, handler in (
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGHUP, signal.SIG_DFL),
        (signal.SIGQUIT, signal.SIG_DFL),
    ):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out what is not of the quick run before Python imports it."""
    return True if config.getoption("quick") and not is_quick_path(collection_path) else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run long tests last, after the plugin that shuffles, and then those of ALONE."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is not None)
    items.sort(key=lambda item: is_alone(item.nodeid))
    if config.getoption("quick"):
        keep_quick(config, items)
        refuse_processes()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling | None:
    """Give the machine to the tests that need it alone, when processes get whole files."""
    return AloneLast(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Remember that a test failed: what it left behind then is no second failure."""
    report = yield
    item.stash[_failed] = item.stash.get(_failed, False) or report.failed
    # What was logged may have lone surrogates, which no process can send to another.
    report.sections = [
        (title, text.encode(errors="backslashreplace").decode()) for title, text in report.sections
    ]
    return report


@pytest.fixture
def check_leaks(
    request: pytest.FixtureRequest, redis_url: str, key_prefix: str
) -> Callable[[], None]:
    """Return the check that fails a test which left something in Redis."""

    def check() -> None:
        if not request.node.stash.get(_failed, False):
            wait_for_no_leaks(redis_url, key_prefix, allowed=allowed_by(request.node))

    return check


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Run one real Redis for all tests; a test that hurts its Redis starts one of its own."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    asyncio.run(server.start())
    yield server
    asyncio.run(server.stop())


@pytest.fixture(scope="session")
def redis_url(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.config.getoption("quick"):
        # Imported here: only the quick run needs it.
        from tests.fake_redis import fake_redis  # noqa: PLC0415

        with fake_redis() as url:
            yield url
    else:
        server: RedisServer = request.getfixturevalue("redis_server")
        yield server.url


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """Connect to the Redis of the whole run."""
    async with Redis.from_url(redis_url, decode_responses=True) as opened:
        yield opened


@pytest.fixture
async def own_redis(tmp_path: Path) -> AsyncIterator[RedisServer]:
    """Run a Redis that the test may hurt."""
    server = RedisServer(tmp_path / "redis")
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
def key_prefix(request: pytest.FixtureRequest) -> Iterator[str]:
    """Name a key space that no other test of the run has, and empty it after the test.

    Each look for leaks goes through all keys of the Redis, as Redis has no index of prefixes: with
    the keys of a thousand tests it takes six times as long.
    """
    prefix = f"test-{next(_numbers)}"
    real = "redis_url" in request.fixturenames and not request.config.getoption("quick")
    url = request.getfixturevalue("redis_url") if real else ""
    yield prefix
    if url:
        forget(url, prefix)


@pytest.fixture(autouse=True)
def no_task_left(request: pytest.FixtureRequest) -> None:
    """Fail a test that leaves an asyncio task running."""
    if inspect.iscoroutinefunction(getattr(request.node, "obj", None)):
        request.getfixturevalue("_no_task_left")


@pytest.fixture
async def _no_task_left() -> AsyncIterator[None]:
    before = set(tasks_left())
    yield

    def nothing_left() -> bool:
        assert not (left := set(tasks_left()) - before), left
        return True

    # A task that was cancelled a moment ago needs its turn of the loop to end.
    await wait_until(nothing_left, "no asyncio task is left", 8.0)


class StartService(Protocol):
    """Start a queue service; the arguments are those of `tests.running.service_env`."""

    async def __call__(
        self, *wanted: dict[str, object], wait: bool = True, **settings: object
    ) -> QueueServiceProcess: ...


class StartWorker(Protocol):
    """Start a worker for a service; settings as in `tests.running.worker_env`."""

    async def __call__(
        self, url: str, service: str = "svc", *, wait: bool = True, **settings: object
    ) -> WorkerProcess: ...


@pytest.fixture
def processes() -> Iterator[list[ServerProcess]]:
    """Hold processes that a test has started, and end the last first."""
    started: list[ServerProcess] = []
    yield started
    _end(started)


@pytest.fixture
def services(check_leaks: Callable[[], None]) -> Iterator[list[ServerProcess]]:
    """Hold the queue services of a test; before they end, nothing of it may be left in Redis."""
    started: list[ServerProcess] = []
    yield started
    try:
        check_leaks()
    finally:
        _end(started)


@pytest.fixture
def workers(services: list[ServerProcess]) -> Iterator[list[ServerProcess]]:
    """Hold the workers of a test; they end before the services do."""
    started: list[ServerProcess] = []
    yield started
    _end(started)


def _end(started: list[ServerProcess]) -> None:
    stuck = [process for process in reversed(started) if not _ends_well(process)]
    assert not stuck, "\n\n".join(f"{p.name} did not end by SIGTERM:\n{p.log}" for p in stuck)


def _ends_well(process: ServerProcess) -> bool:
    try:
        if process.running:
            process.stop_blocking()
    except AssertionError:
        return False
    finally:
        process.kill_all()
    return True


@pytest.fixture
def start_service(
    redis_url: str, key_prefix: str, tmp_path: Path, services: list[ServerProcess]
) -> StartService:
    """Start queue services as real processes; all of one test share Redis and key prefix."""

    async def start(
        *wanted: dict[str, object], wait: bool = True, **settings: object
    ) -> QueueServiceProcess:
        fields = {"redis_url": redis_url, "key_prefix": key_prefix, **settings}
        env = service_env(services=list(wanted) or [SERVICE], **fields)  # type: ignore[arg-type]
        service = QueueServiceProcess(env, log_path=tmp_path / f"service-{len(services)}.log")
        services.append(service)
        await service.start() if wait else service.spawn()
        return service

    return start


@pytest.fixture
async def service(start_service: StartService) -> QueueServiceProcess:
    """Run one queue service with the service `svc`."""
    return await start_service()


@pytest.fixture
def start_worker(tmp_path: Path, workers: list[ServerProcess]) -> StartWorker:
    """Start workers as real processes."""

    async def start(
        url: str, service: str = "svc", *, wait: bool = True, **settings: object
    ) -> WorkerProcess:
        env = worker_env(queue_url=url, service=service, **settings)
        worker = WorkerProcess(env, log_path=tmp_path / f"worker-{len(workers)}.log")
        workers.append(worker)
        await worker.start() if wait else worker.spawn()
        return worker

    return start


Serve = Callable[..., Awaitable[str]]


@pytest.fixture
async def serve(
    redis_url: str, key_prefix: str, check_leaks: Callable[[], None]
) -> AsyncIterator[Serve]:
    """Serve the queue service in this process: `url = await serve({"name": "svc"}, lease_ms=500)`.

    Quicker than a process; for tests that need no signals and no second process.
    """
    # Imported here, so that a test of the worker alone does not need the queue service.
    from queue_service.app import build_app  # noqa: PLC0415
    from queue_service.settings.process import Settings  # noqa: PLC0415
    from queue_service.settings.service import ServiceSettings  # noqa: PLC0415

    runners: list[web.AppRunner] = []

    async def start(*services: dict[str, object], **settings: Any) -> str:
        fields: dict[str, Any] = {
            "redis_url": redis_url,
            "key_prefix": key_prefix,
            "admin_token": ADMIN_TOKEN,
            "services": tuple(
                ServiceSettings.model_validate({"token": TOKEN, **service})
                for service in services or (SERVICE,)
            ),
            **settings,
        }
        runner = web.AppRunner(build_app(Settings(**fields)))
        runners.append(runner)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        return f"http://{host}:{port}"

    yield start
    try:
        # In a thread, because the services that release what was held run in this loop.
        await asyncio.to_thread(check_leaks)
    finally:
        for runner in reversed(runners):
            await runner.cleanup()


@pytest.fixture
async def url(serve: Serve) -> str:
    """Serve the service `svc` in this process."""
    return await serve()
