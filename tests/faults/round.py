"""One round: a load, faults one after the other, a drain, and a look at what is left."""

import asyncio
import math
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from redis.exceptions import RedisError

from tests.faults.actions import Course, Injury, Surgeon
from tests.faults.cells import RoundPlan
from tests.faults.checker import Verdict, check
from tests.faults.cluster import PREFIX, Cluster
from tests.faults.event import Event, What
from tests.faults.file_look import FilesSeen, FileWatch, files_left
from tests.faults.history import Violation
from tests.faults.journal import read
from tests.faults.load import Keeper, Pace
from tests.faults.team_main import SERVICE as TEAMS
from tests.leaks import find_leaks
from tests.waiting import WaitedInVain, let_pass, wait_until

#: Seconds without an entry less, once nothing is hurt, after which entries are left behind.
DRAIN_S = 90.0
#: Seconds after which a run ends that goes on for ever.
MOST_DRAIN_S = 3600.0
#: Seconds that what was left behind by a connection may stay, beyond a lease.
TIDY_S = 15.0


@dataclass(slots=True)
class Outcome:
    """What a round showed."""

    plan: RoundPlan
    verdict: Verdict
    injuries: list[Injury]
    events: list[Event]
    left: list[Violation] = field(default_factory=list)
    files: FilesSeen = field(default_factory=FilesSeen)

    @property
    def violations(self) -> list[Violation]:
        return [*self.verdict.violations, *self.left]


async def run_round(
    cluster: Cluster,
    plan: RoundPlan,
    *,
    drain_s: float = DRAIN_S,
    course: Course | None = None,
    pace: Pace | None = None,
) -> Outcome:
    """Run one round on a cluster that is up; its queue services and its Redis are up."""
    rng = random.Random(plan.seed)
    await cluster.begin(f"round-{plan.number}")
    surgeon = Surgeon(cluster, rng, course=course)
    keeper = Keeper(cluster, plan.load, pace)
    turning = cluster.registrar.running(cluster.teams, cluster.journal)
    watch = FileWatch(cluster.files_dir, cluster.journal)
    async with watch.running():
        async with turning, keeper.running():
            await _inflict_all(surgeon, keeper, plan)
            await let_pass(1.0)
        outcome = await finish_round(cluster, plan, surgeon.injuries, drain_s=drain_s)
    outcome.files = watch.seen
    outcome.files.met, outcome.files.missed = surgeon.files.met, surgeon.files.missed
    return outcome


async def finish_round(
    cluster: Cluster, plan: RoundPlan, injuries: list[Injury], *, drain_s: float = DRAIN_S
) -> Outcome:
    """Drain, look at what is left, end workers and clients, and hold what they did to the rules."""
    left = await _drain(cluster, drain_s)
    if not left:
        left = await _tidy(cluster)
    events = read(cluster.round_folder)
    verdict = check(events, lease_s=cluster.shape.lease_s)
    return Outcome(plan, verdict, injuries, events, left)


async def _inflict_all(surgeon: Surgeon, keeper: Keeper, plan: RoundPlan) -> None:
    began_at = asyncio.get_running_loop().time()
    under_way: set[asyncio.Task[None]] = set()

    async def inflict(cell_number: int) -> None:
        await surgeon.inflict(plan.cells[cell_number], plan.load)
        keeper.probe()

    for number, (cell, start_s) in enumerate(zip(plan.cells, plan.starts_s, strict=True)):
        await let_pass(max(0.0, began_at + start_s - asyncio.get_running_loop().time()))
        while len(under_way) >= surgeon.course.at_once or not surgeon.is_free(cell):
            under_way = await _one_less(under_way)
            if not under_way:
                await let_pass(0.1)
        under_way.add(asyncio.create_task(inflict(number)))
        # Its victim is chosen before the next one's.
        await let_pass(0)
    await asyncio.gather(*under_way)


async def _one_less(under_way: set[asyncio.Task[None]]) -> set[asyncio.Task[None]]:
    if not under_way:
        return under_way
    done, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()
    return under_way


async def _drain(cluster: Cluster, drain_s: float) -> list[Violation]:
    """Wait until every entry was answered and read, as long as there are fewer every drain_s."""
    seen = ""
    # How many there are at least since that time: a slow machine is no fault, what stays is one.
    fewest, since = math.inf, time.monotonic()

    async def empty() -> bool:
        nonlocal seen, fewest, since
        try:
            found = {service: await cluster.lengths(service) for service in ("svc", TEAMS)}
        except (RedisError, OSError) as error:
            seen = repr(error)
            return False
        seen = ", ".join(
            f"{waiting} entries in the input queue and {unread} in the sink of {service}"
            for service, (waiting, unread) in found.items()
        )
        left = sum(waiting + unread for waiting, unread in found.values())
        if left < fewest:
            fewest, since = left, time.monotonic()
        return left == 0

    async def empty_or_stuck() -> bool:
        return await empty() or time.monotonic() - since > drain_s

    for description in ("every accepted entry was answered and read", "and is still so"):
        fewest, since = math.inf, time.monotonic()
        await wait_until(empty_or_stuck, description, MOST_DRAIN_S)
        if not await empty():
            return [Violation("left behind", f"no fewer for {drain_s:g} s: {seen}")]
        # What was put at the last moment may have been answered by nobody yet.
        await let_pass(0.5)
    return []


async def _tidy(cluster: Cluster) -> list[Violation]:
    """End all clients and workers, and say what they have left behind."""
    left: list[Violation] = []
    cluster.journal.note(What.ENDING)
    putters = (cluster.clients, cluster.teams, cluster.readers)
    # Autoscalers first: they would start workers in place of those that end.
    for group in (cluster.autoscalers, *putters, cluster.workers):
        started = [part for part in group if part.was_started]
        for part in started:
            part.send(signal.SIGTERM)
        for part in started:
            code = await part.stop()
            if group is cluster.workers and code != 0:
                left.append(Violation("left behind", part.end))
    left += [Violation("left behind", sentence) for sentence in cluster.fleet.bad_ends]
    patience_s = cluster.shape.lease_s + TIDY_S
    # Files first: the index of those that the sweep removes is in keys.
    for look in (files_left, _keys, _connections, _tasks):
        if sentence := await _nothing(look, cluster, patience_s):
            left.append(Violation("left behind", sentence))
    return left


async def _nothing(
    look: Callable[[Cluster], Awaitable[str]], cluster: Cluster, patience_s: float
) -> str:
    """Return what is left after some patience; "" for nothing."""
    sentence = ""

    async def nothing() -> bool:
        nonlocal sentence
        sentence = await look(cluster)
        return not sentence

    try:
        await wait_until(nothing, "nothing is left", patience_s)
    except WaitedInVain:
        return sentence
    return ""


async def _keys(cluster: Cluster) -> str:
    leaks = await asyncio.to_thread(find_leaks, cluster.redis.url, PREFIX)
    # The service that is scaled was made while the queue services ran, and lasts.
    return "; ".join(leak for leak in leaks if not leak.endswith(": service svc is left"))


async def _connections(cluster: Cluster) -> str:
    counts = await cluster.connections()
    # The queue services keep theirs to Redis; nobody else is there any more.
    return ", ".join(
        f"{count} connections over {name}"
        for name, count in counts.items()
        if count and not name.startswith("r")
    )


async def _tasks(cluster: Cluster) -> str:
    found = []
    for service in cluster.services:
        tasks = await cluster.tasks(service)
        extra = Counter(tasks) - cluster.idle_tasks
        if extra:
            found.append(f"{service.name} runs {dict(extra)}")
    return "; ".join(found)
