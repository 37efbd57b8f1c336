"""All processes of a run, with a wire between any two that talk."""

import asyncio
import contextlib
import json
import os
import shlex
import signal
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

from redis.asyncio import Redis

from tests.faults.fleet import Fleet
from tests.faults.journal import Journal
from tests.faults.part import Part
from tests.faults.redis_master import RedisMaster
from tests.faults.registrar import Registrar
from tests.faults.team_main import SERVICE as TEAMS
from tests.running import ADMIN_TOKEN, TOKEN, free_port, service_env, worker_env
from tests.waiting import wait_until

PREFIX = "faults"
WORKERS = 4
#: The number of workers that run their engine in a separate process.
OWN_ENGINES = 2
#: The places for workers beyond these, which autoscalers fill.
PLACES = 8
#: The lease of an autoscaler, and the time between two of its decisions, in seconds.
AUTOSCALER_LEASE_S = 2.0
AUTOSCALER_INTERVAL_S = 0.2
SCALE_PROGRAM = Path(__file__).with_name("scale_program.py")
#: The workers of the teams' service, one of which runs its engine in a process of its own.
TEAM_WORKERS = 2


@dataclass(frozen=True, slots=True)
class Shape:
    """What a run is made of.

    lease_s: the lease of subscribers.  sink_length: the most results that may lie unread.
    teams: who puts jobs over the jobs API, with tokens of their own, into a service of their own.
    autoscalers: of the workers; one of them decides.
    """

    lease_s: float = 2.0
    services: int = 2
    sink_length: int = 3000
    max_delivery: int = 5
    #: How long a put can be repeated, in seconds; its key stays in Redis that long.
    repeatable_s: float = 3600.0
    seed: int = 0
    teams: tuple[str, ...] = ("amber", "blue")
    autoscalers: int = 2
    #: A tree of the product to run in place of this one.
    root: Path | None = None


class Cluster:
    """A Redis, its services, workers, clients and readers, and the links between them."""

    def __init__(self, folder: Path, shape: Shape) -> None:
        self.folder = folder
        self.shape = shape
        #: Where the queue services keep files, and workers those of their jobs.
        self.files_dir = folder / "files"
        self.job_files_dir = folder / "job-files"
        self.redis = RedisMaster(folder)
        self.journal = Journal(folder / "us.jsonl", "us")
        self.round_folder = folder
        #: What the queue services run when nobody is connected.
        self.idle_tasks: Counter[str] = Counter()
        self._ports: dict[str, int] = {}
        service_ports = [free_port() for _ in range(shape.services)]
        self.services = [
            self._service(number, port) for number, port in enumerate(service_ports, 1)
        ]
        self.workers = [self._worker(number) for number in range(1, WORKERS + 1)]
        if shape.teams:
            numbers = range(WORKERS + 1, WORKERS + TEAM_WORKERS + 1)
            self.workers += [self._worker(number, TEAMS) for number in numbers]
        #: The workers that a round begins with.
        self.first_workers = tuple(self.workers)
        self.team_workers = self.workers[WORKERS:]
        places = range(WORKERS + TEAM_WORKERS + 1, WORKERS + TEAM_WORKERS + 1 + PLACES)
        if shape.autoscalers:
            self.workers += [self._worker(number) for number in places]
        self.autoscalers = [self._autoscaler(number + 1) for number in range(shape.autoscalers)]
        self.clients = [self._client(number, kind) for number, kind in ((1, "sdk"), (2, "lean"))]
        self.readers = [self._reader(number, way) for number, way in ((1, "watch"), (2, "get"))]
        self.teams = [self._team(name, number) for number, name in enumerate(shape.teams, 3)]
        urls = [f"http://127.0.0.1:{port}" for port in service_ports]
        self.registrar = Registrar(urls, TEAMS)
        scaled = [worker for worker in self.workers if worker not in self.first_workers[WORKERS:]]
        self.fleet = Fleet(urls, "svc", scaled, self.autoscalers)
        self.link = self._link(service_ports)

    @property
    def parts(self) -> Iterator[Part]:
        """Every Python process, in the order in which they start."""
        yield from (self.link, *self.services, *self.workers, *self.readers)
        yield from (*self.clients, *self.teams, *self.autoscalers)

    def part(self, name: str) -> Part:
        """Return a process by its name."""
        return next(part for part in self.parts if part.name == name)

    async def start(self) -> None:
        """Start Redis, the links and the queue services, and see what these do when idle."""
        await self.redis.start()
        await self.link.start()
        await self.fleet.open()
        await asyncio.gather(*(service.start() for service in self.services))
        await self.fleet.make_service(
            {
                "token": TOKEN,
                "sink": {"max_length": self.shape.sink_length},
                "max_delivery": self.shape.max_delivery,
            }
        )
        for service in self.services:
            self.idle_tasks |= await self.tasks(service)

    async def begin(self, name: str) -> None:
        """Start a round: new workers, readers and clients, whose journals are in one folder."""
        self.round_folder = self.folder / name
        self.round_folder.mkdir()
        self.journal.close()
        self.journal = Journal(self.round_folder / "us.jsonl", "us")
        putters = (*self.readers, *self.clients, *self.teams)
        for part in (*self.workers, *putters, *self.autoscalers):
            part.folder = self.round_folder
        for team in self.teams:
            await self.registrar.give(team)
        await asyncio.gather(*(part.start() for part in self.first_workers))
        await asyncio.gather(*(part.start() for part in putters))
        await self.fleet.begin(self.journal)
        await asyncio.gather(*(part.start() for part in self.autoscalers))

    async def tasks(self, service: Part) -> Counter[str]:
        """Return the asyncio tasks that a queue service runs now, by name."""
        path = self.folder / f"{service.name}.tasks"
        path.unlink(missing_ok=True)
        service.send(signal.SIGUSR2)
        await wait_until(path.exists, f"{service.name} tells its tasks")
        return Counter(json.loads(path.read_text()))

    async def stop(self) -> None:
        """End whatever still runs, without asking."""
        self.fleet.close()
        for part in reversed(list(self.parts)):
            part.kill_all()
        with contextlib.suppress(Exception):
            await self.redis.kill()
        self.journal.close()

    def tell(self, verb: str, link: str) -> None:
        """Do something to a link: cut, hold, slow or heal."""
        self.link.tell(f"{verb} {link}")

    @contextlib.asynccontextmanager
    async def client(self) -> AsyncIterator[Redis]:
        """Open a connection of our own to Redis, beside all links."""
        redis = Redis.from_url(self.redis.url, decode_responses=True, socket_timeout=5)
        try:
            yield redis
        finally:
            await redis.aclose()

    async def lengths(self, service: str = "svc") -> tuple[int, int]:
        """Return how many entries are in the input queue and in the sink of a service."""
        async with self.client() as redis:
            counts = [
                sum(
                    [
                        await redis.xlen(f"{PREFIX}:{{{service}}}:{role}:lane:{lane}")
                        for lane in (0, 1)
                    ]
                )
                for role in ("input", "sink")
            ]
        return counts[0], counts[1]

    # --- What the parts are

    def _port(self, link: str) -> int:
        return self._ports.setdefault(link, free_port())

    def _url(self, link: str) -> str:
        return f"http://127.0.0.1:{self._port(link)}"

    def _service(self, number: int, port: int) -> Part:
        lease_ms = round(self.shape.lease_s * 1000)
        env = service_env(
            redis_url=f"redis://127.0.0.1:{self._port(f'r{number}')}/0",
            key_prefix=PREFIX,
            # The other one is made while they run: only then its autoscaler can be changed.
            services=[{"name": TEAMS, "max_delivery": self.shape.max_delivery}],
            lease_ms=lease_ms,
            idempotency_ttl_ms=round(self.shape.repeatable_s * 1000),
            port=port,
            store_timeout_s=2.0,
            drain_s=2.0,
            files_dir=self.files_dir,
            files_reserve_mb=0,
            # An idle connection of a machine that has gone is closed within a round.
            keepalive_timeout_s=5.0,
        )
        ready_url = f"http://127.0.0.1:{port}/readyz"
        tasks = self.folder / f"s{number}.tasks"
        return Part(
            f"s{number}",
            self.folder,
            argv=lambda _, __: ["-m", "tests.faults.service_main", str(tasks)],
            env=env,
            root=self.shape.root,
            is_ready=lambda _: _answers(ready_url),
        )

    def _worker(self, number: int, service: str = "svc") -> Part:
        own = WORKERS - OWN_ENGINES < number < WORKERS + TEAM_WORKERS
        env = worker_env(
            queue_url=self._url(f"w{number}"),
            service=service,
            engine="handler:tests.faults.handler:predict",
            engine_process=str(own).lower(),
            worker_threads=8 if own else 32,
            engine_silence_s=2.0,
            grace_s=2.0,
            files_dir=self.job_files_dir,
            files_reserve_mb=0,
        )
        return Part(
            f"w{number}",
            self.folder,
            argv=lambda who, path: ["-m", "tests.faults.worker_main", str(path), who],
            env=env,
            root=self.shape.root,
        )

    def _autoscaler(self, number: int) -> Part:
        name = f"a{number}"
        url = self._url(name)

        def argv(who: str, path: Path) -> list[str]:
            program = (sys.executable, "-I", "-S", SCALE_PROGRAM, self.fleet.port, name)
            options = {
                "driver": "command",
                "command": shlex.join(map(str, program)),
                "service": "svc",
                "lease": AUTOSCALER_LEASE_S,
                "interval": AUTOSCALER_INTERVAL_S,
                "url": url,
                "admin-token": ADMIN_TOKEN,
            }
            told = [text for key, value in options.items() for text in (f"--{key}", str(value))]
            start = ["-m", "tests.faults.autoscaler_main", str(path), who]
            return [*start, "autoscale", "run", *told]

        return Part(name, self.folder, argv=argv, root=self.shape.root)

    def _client(self, number: int, kind: str) -> Part:
        url, seed = self._url(f"c{number}"), self.shape.seed * 10 + number
        start = ("-m", "tests.faults.client_main")
        return Part(
            f"c{number}",
            self.folder,
            argv=lambda who, path: [*start, str(path), who, url, str(seed), kind],
            root=self.shape.root,
        )

    def _team(self, name: str, number: int) -> Part:
        url, seed = self._url(name), self.shape.seed * 10 + number
        start = ("-m", "tests.faults.team_main")
        return Part(
            name,
            self.folder,
            argv=lambda who, path: [*start, str(path), who, url, str(seed)],
            root=self.shape.root,
        )

    def _reader(self, number: int, way: str) -> Part:
        url = self._url(f"o{number}")
        return Part(
            f"o{number}",
            self.folder,
            argv=lambda who, path: ["-m", "tests.faults.reader_main", str(path), who, url, way],
            root=self.shape.root,
            words=("go",),
        )

    def _link(self, service_ports: list[int]) -> Part:
        targets = ",".join(map(str, service_ports))
        arguments = [
            f"{name}={port}:{self.redis.port if name[0] == 'r' else targets}"
            for name, port in self._ports.items()
        ]
        return Part(
            "link",
            self.folder,
            argv=lambda _, __: ["-m", "tests.faults.link_main", *arguments],
            is_ready=lambda part: "ready" in part.log_path.read_text(),
        )

    async def connections(self) -> dict[str, int]:
        """Return how many connections each link carries now."""
        before = self.link.log_path.read_text().count("connections")
        self.link.tell("count")

        def told() -> str:
            text = self.link.log_path.read_text()
            return text.splitlines()[-1] if text.count("connections") > before else ""

        line = await wait_until(told, "the link counts its connections")
        pairs = (word.split("=") for word in line.split()[1:])
        return {name: int(count) for name, count in pairs}


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def cpu_count() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0))
