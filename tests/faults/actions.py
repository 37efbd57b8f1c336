"""How each cell of the matrix is done to a running cluster, and undone."""

import contextlib
import os
import random
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial

from redis.exceptions import ResponseError

from tests.faults.cells import SCALED, Cell, Fault, Victim
from tests.faults.cluster import Cluster
from tests.faults.event import What, now
from tests.faults.file_faults import FULL, FileFaults
from tests.faults.part import Part
from tests.faults.scaling import Scaling
from tests.waiting import let_pass, wait_until

#: How long what ends by itself is left alone, in seconds.
SPELL_S = 2.0


@dataclass(frozen=True, slots=True)
class Course:
    """How faults follow each other, and how long they last, in seconds.

    at_once: the most that are going on at the same time.
    away_s: the least and the most that what was killed stays away.
    past_lease_s: how much longer than the lease a silence is.
    rest_s: how long nothing that a fault touched is hurt again, once it is healed.
    """

    at_once: int = 3
    away_s: tuple[float, float] = (0.0, 1.0)
    past_lease_s: float = 0.8
    rest_s: float = 0.0


@dataclass(slots=True)
class Injury:
    """A fault that was injected.

    victims: the processes, by the names that they have in their journals.
    hurt_at, healed_at: when it began, and when everybody was there again.
    """

    cell: Cell
    load: str
    victims: list[str] = field(default_factory=list)
    hurt_at: float = 0.0
    healed_at: float = 0.0


class Surgeon:
    """Hurts one cluster, several parts of it at once, but never the same one twice."""

    def __init__(
        self, cluster: Cluster, rng: random.Random, *, course: Course | None = None
    ) -> None:
        self.cluster = cluster
        self.course = course or Course()
        self.injuries: list[Injury] = []
        self._random = rng
        self._busy: set[str] = set()
        self._scaling = Scaling(cluster, rng)
        self.files = FileFaults(cluster, self._busy.__contains__)
        cluster.fleet.is_hurt = self._busy.__contains__

    def is_free(self, cell: Cell) -> bool:
        """Say whether this can begin while others are going on."""
        if cell.touches & self._busy:
            return False
        return cell.victim in _WHOLE or bool(self._candidates(cell))

    async def inflict(self, cell: Cell, load: str) -> None:
        """Do it, and return when everything is healed."""
        injury = Injury(cell, load)
        names = set(cell.touches)
        parts: list[Part] = []
        if cell.victim not in _WHOLE:
            parts = [self._random.choice(self._candidates(cell))]
            names.add(parts[0].name)
        elif cell.victim in {Victim.SERVICES, Victim.FILES}:
            parts = list(self.cluster.services)
        injury.victims = [part.who for part in parts] or [cell.victim.lower()]
        self._busy |= names
        try:
            injury.hurt_at = now()
            self._note(What.HURT, injury)
            await self._method(cell)(parts)
            injury.healed_at = now()
            self._note(What.HEALED, injury)
            self.injuries.append(injury)
            await let_pass(self.course.rest_s)
        finally:
            self._busy -= names

    def _note(self, what: What, injury: Injury) -> None:
        self.cluster.journal.note(what, code=f"{injury.cell} ({', '.join(injury.victims)})")

    def _candidates(self, cell: Cell) -> list[Part]:
        readers = self.cluster.readers
        if cell.fault is Fault.VANISH:
            # One that polls has no lease: its idle connection is the HTTP server's to close.
            readers = readers[:1]
        workers = [worker for worker in self.cluster.workers if worker.running]
        clients = [*self.cluster.clients, *self.cluster.teams]
        if cell.is_of_files:
            # Nobody else has any.
            workers = [worker for worker in workers if worker in self.cluster.team_workers]
            clients = self.cluster.teams
        parts = {
            Victim.CLIENT: clients,
            Victim.READER: readers,
            Victim.SERVICE: self.cluster.services,
            Victim.WORKER: workers,
            # A worker whose first engine does not load ends with 1, as it should: not this fault.
            Victim.ENGINE: [one for one in workers if one.has_noted() and one.children()],
        }[cell.victim]
        return [part for part in parts if part.name not in self._busy]

    async def _hurt_files(self, cell: Cell, parts: list[Part]) -> None:
        async with self.files.on_their_way(cell, parts):
            if cell.fault in FULL:
                await self.files.fill(parts)
            elif cell.victim is Victim.ENGINE:
                await self._kill_engine(parts)
            else:
                await self._kill(parts)

    def _method(self, cell: Cell) -> Callable[[list[Part]], Awaitable[None]]:
        if cell.is_of_files:
            return partial(self._hurt_files, cell)
        methods: dict[Fault, Callable[[list[Part]], Awaitable[None]]] = {
            Fault.KILL: self._kill,
            Fault.TERM: self._terminate,
            Fault.STOP: self._freeze,
            Fault.CUT: self._cut,
            Fault.HALF_OPEN: self._hold,
            Fault.SLOW: self._slow,
            Fault.VANISH: self._vanish,
        }
        if cell.victim is Victim.ENGINE:
            methods |= {
                Fault.KILL: self._kill_engine,
                Fault.TERM: self._terminate_engine,
                Fault.STOP: self._freeze_engine,
            }
        elif cell.victim is Victim.REDIS:
            methods |= {
                Fault.KILL: self._kill_redis,
                Fault.TERM: self._terminate_redis,
                Fault.STOP: self._freeze_redis,
                Fault.CUT: self._cut_redis,
                Fault.DISK_FULL: self._fill_disk,
                Fault.DISK_FULL_ALWAYS: self._fill_disk_always,
                Fault.MEMORY_FULL: self._fill_memory,
                Fault.CLOCK: self._move_clock,
            }
        elif cell.victim in SCALED:
            method = self._scaling.method(cell.fault)
            return lambda _: method()
        return methods[cell.fault]

    # --- Processes

    async def _kill(self, parts: list[Part]) -> None:
        names = [part.who for part in parts]
        for part in parts:
            part.kill()
        for name in names:
            self.cluster.journal.note(What.KILLED, code=name)
        await let_pass(self._random.uniform(*self.course.away_s))
        await self._start(parts)

    async def _terminate(self, parts: list[Part]) -> None:
        for part in parts:
            part.send(signal.SIGTERM)
        for part in parts:
            await part.stop()
        await self._start(parts)

    async def _freeze(self, parts: list[Part]) -> None:
        for part in parts:
            part.send(signal.SIGSTOP)
        await let_pass(self._past_lease_s)
        for part in parts:
            part.send(signal.SIGCONT)

    async def _start(self, parts: list[Part]) -> None:
        for part in parts:
            part.spawn()
        for part in parts:
            await wait_until(part.ready, f"{part.name} is ready again", 60)

    @property
    def _past_lease_s(self) -> float:
        return self.cluster.shape.lease_s + self.course.past_lease_s

    # --- Wires

    def _links(self, parts: list[Part]) -> list[str]:
        if not parts:
            return [f"r{number}" for number in range(1, self.cluster.shape.services + 1)]
        if len(parts) > 1:
            # All queue services: what is hurt is the way to them.
            cluster = self.cluster
            others = (cluster.workers, cluster.clients, cluster.teams, cluster.readers)
            return [part.name for group in (*others, cluster.autoscalers) for part in group]
        name = parts[0].name
        return [f"r{name[1:]}" if name[0] == "s" else name]

    async def _cut(self, parts: list[Part]) -> None:
        for link in self._links(parts):
            self.cluster.tell("cut", link)

    async def _hold(self, parts: list[Part]) -> None:
        links = self._links(parts)
        for link in links:
            self.cluster.tell("hold", link)
        await let_pass(self._past_lease_s)
        # Some networks come back, and some have forgotten the connection.
        verbs = ["cut", "heal"] if self._random.random() < 0.5 else ["heal"]
        for link in links:
            for verb in verbs:
                self.cluster.tell(verb, link)

    async def _vanish(self, parts: list[Part]) -> None:
        # It must neither say goodbye nor connect again.
        for part in parts:
            part.send(signal.SIGSTOP)
        for link in self._links(parts):
            self.cluster.tell("strand", link)
        await let_pass(0.2)
        await self._kill(parts)

    async def _slow(self, parts: list[Part]) -> None:
        for link in self._links(parts):
            self.cluster.tell("slow", link)
        await let_pass(SPELL_S)
        for link in self._links(parts):
            self.cluster.tell("heal", link)

    # --- The engine

    async def _hurt_engine(self, parts: list[Part], number: signal.Signals) -> None:
        for pid in parts[0].children()[-1:]:
            _send(pid, number)
        await let_pass(SPELL_S)

    async def _kill_engine(self, parts: list[Part]) -> None:
        await self._hurt_engine(parts, signal.SIGKILL)

    async def _terminate_engine(self, parts: list[Part]) -> None:
        await self._hurt_engine(parts, signal.SIGTERM)

    async def _freeze_engine(self, parts: list[Part]) -> None:
        pids = parts[0].children()[-1:]
        for pid in pids:
            _send(pid, signal.SIGSTOP)
        await let_pass(self._past_lease_s)
        for pid in pids:
            _send(pid, signal.SIGCONT)

    # --- Redis

    async def _kill_redis(self, _: list[Part]) -> None:
        await self.cluster.redis.kill()
        await let_pass(self._random.uniform(*self.course.away_s))
        await self.cluster.redis.start()

    async def _terminate_redis(self, _: list[Part]) -> None:
        await self.cluster.redis.stop()
        await let_pass(self._random.uniform(*self.course.away_s))
        await self.cluster.redis.start()

    async def _freeze_redis(self, _: list[Part]) -> None:
        self.cluster.redis.send(signal.SIGSTOP)
        await let_pass(self._past_lease_s)
        self.cluster.redis.send(signal.SIGCONT)

    async def _cut_redis(self, _: list[Part]) -> None:
        async with self.cluster.client() as redis:
            for kind in ("pubsub", "normal"):
                await redis.client_kill_filter(_type=kind, skipme=True)

    async def _fill_disk(self, _: list[Part]) -> None:
        redis = self.cluster.redis
        async with self.cluster.client() as client:
            await client.config_set("appendfsync", "everysec")
        redis.fill_disk()
        await let_pass(SPELL_S)
        redis.free_disk()

        async def writes_again() -> bool:
            async with self.cluster.client() as client:
                said = await client.info("persistence")
                return bool(said["aof_last_write_status"] == "ok")

        await wait_until(writes_again, "Redis writes to its disk again", 30)
        await self._rewrite_append_only_file()
        async with self.cluster.client() as client:
            await client.config_set("appendfsync", "always")

    async def _rewrite_append_only_file(self) -> None:
        """Do what the operator has to after a full disk with `everysec`.

        Redis cuts off what it had written in part. From 7.0 on the file that it began with a
        rewrite is not open for appending, and so it goes on behind a hole of zeros, at which it
        stops when it reads the file after its next start. `always` ends Redis before that.
        """

        async def ordered() -> bool:
            async with self.cluster.client() as client:
                try:
                    await client.bgrewriteaof()
                except ResponseError:
                    # One is under way that may have begun before the hole.
                    return False
                return True

        async def done() -> bool:
            async with self.cluster.client() as client:
                said = await client.info("persistence")
            under_way = said["aof_rewrite_in_progress"] or said["aof_rewrite_scheduled"]
            return not under_way and said["aof_last_bgrewrite_status"] == "ok"

        await wait_until(ordered, "Redis begins to rewrite its file", 30)
        await wait_until(done, "Redis has rewritten its file", 60)

    async def _fill_disk_always(self, _: list[Part]) -> None:
        redis = self.cluster.redis
        redis.fill_disk()
        # With `always` Redis ends rather than answer for what it could not write; where nothing
        # is written it has no reason to.
        ends_at = now() + SPELL_S
        await wait_until(lambda: redis.ended or now() > ends_at, "Redis meets the end of its disk")
        await redis.kill()
        await redis.start()

    async def _fill_memory(self, _: list[Part]) -> None:
        async with self.cluster.client() as redis:
            await redis.config_set("maxmemory", 1)
            await let_pass(SPELL_S)
            await redis.config_set("maxmemory", 0)

    async def _move_clock(self, _: list[Part]) -> None:
        ahead_s = self.cluster.shape.lease_s * 1.5
        self.cluster.redis.set_clock(ahead_s)
        await let_pass(SPELL_S)
        self.cluster.redis.set_clock(0.0)


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


_WHOLE = {Victim.SERVICES, Victim.REDIS, Victim.FILES, *SCALED}
