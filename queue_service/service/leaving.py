"""Which workers leave when a service has too many: idle ones, then those that are done soonest."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from client_sdk.wire.codes import Code
from queue_service.errors import ServiceError
from queue_service.service.estimate import RunTimes, rest_of_run_s
from queue_service.service.queues import Queue
from queue_service.service.tickets import Tickets
from queue_service.store.owners import plain_name
from queue_service.store.state import SubscriberState
from queue_service.store.ticket import Leaving

#: The start of their jobs is read for at most this many busy workers, those with the fewest jobs.
MOST_ASKED = 100
#: How often to choose again after another request has chosen the same worker.
MOST_TRIES = 5


class NoSuchWorker(ServiceError):
    code = Code.NOT_FOUND

    def __init__(self, service: str, uid: str) -> None:
        super().__init__(
            f"no connected worker {uid!r} of {service} can be asked to leave: `penstock desc "
            f"{service}` lists the workers; those of older versions cannot be asked"
        )
        self.uid = uid


@dataclass(frozen=True, slots=True)
class Candidate:
    """A worker that may be asked to leave.

    uid: as it is stored.  window: 0 while it accepts no entries.  held: entries that it has.
    since_ms: when it connected.  ends_in_s: when those have probably ended; None if unknown.
    """

    uid: str
    held: int
    window: int = 1
    since_ms: int = 0
    ends_in_s: float | None = None
    host: str = ""
    pid: int = 0


def choose(candidates: Iterable[Candidate], count: int) -> list[Candidate]:
    """Return the workers that leave, the best first.

    Idle ones go first, of these such as accept no entries, then the newest: the others have proved
    themselves for longer.  Of busy ones, those that end soonest, unknown ends last.
    """
    return sorted(candidates, key=_rank)[:count]


def _rank(one: Candidate) -> tuple[bool, float, int, bool, int, str]:
    ends_in_s = math.inf if one.ends_in_s is None else one.ends_in_s
    return (
        one.held > 0,
        ends_in_s if one.held else 0,
        one.held,
        one.window > 0,
        -one.since_ms,
        one.uid,
    )


def ends_in_s(run_times: RunTimes, elapsed_s: Sequence[float | None]) -> float | None:
    """Return when a worker has probably finished all that it runs; None if that is unknown."""
    rests = [rest for one in elapsed_s if (rest := rest_of_run_s(run_times, one)) is not None]
    return max(rests, default=None)


class Leavers:
    """Chooses workers of one service and has them leave."""

    def __init__(self, queue: Queue, tickets: Tickets, *, gid: str) -> None:
        self._queue = queue
        self._tickets = tickets
        self._gid = gid

    async def leave(self, count: int) -> list[Candidate]:
        """Choose this number of workers, or all if there are fewer, and have them leave."""
        left: list[Candidate] = []
        for _ in range(MOST_TRIES):
            missing = count - len(left)
            able = [one for one in await self._able() if not one.leaving]
            chosen = choose(await self._candidates(able, missing), missing)
            if not chosen:
                break
            outcomes = await self._tickets.leave([one.uid for one in chosen])
            # Two requests at once may choose the same worker: it counts for the first one.
            left += [
                one
                for one, outcome in zip(chosen, outcomes, strict=True)
                if outcome is Leaving.ASKED
            ]
        return left

    async def leave_named(self, uids: Sequence[str]) -> list[Candidate]:
        """Have these workers leave; raises NoSuchWorker, and then asks none of them."""
        by_uid = {plain_name(one.uid): one for one in await self._able()}
        for uid in uids:
            if uid not in by_uid:
                raise NoSuchWorker(self._queue.service, uid)
        named = [by_uid[uid] for uid in dict.fromkeys(uids)]
        candidates = await self._with_ends([_candidate(one) for one in named])
        await self._tickets.leave([one.uid for one in candidates])
        return candidates

    async def _able(self) -> list[SubscriberState]:
        """Return the connected workers that understand that they are to leave."""
        state = await self._queue.attributes()
        return [
            one
            for one in state.subscribers
            if one.gid == self._gid and one.connected and one.about.get("leaves") is True
        ]

    async def _candidates(self, able: Sequence[SubscriberState], count: int) -> list[Candidate]:
        candidates = [_candidate(one) for one in able]
        idle = [one for one in candidates if not one.held]
        if len(idle) >= count:
            return idle
        busy = sorted((one for one in candidates if one.held), key=lambda one: one.held)
        asked = busy[:MOST_ASKED]
        return [*idle, *await self._with_ends(asked), *busy[MOST_ASKED:]]

    async def _with_ends(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        if not any(one.held for one in candidates):
            return list(candidates)
        run_times = await self._tickets.run_times()
        runs = await self._tickets.runs([one.uid for one in candidates])
        return [
            replace(one, ends_in_s=ends_in_s(run_times, elapsed))
            for one, elapsed in zip(candidates, runs, strict=True)
        ]


def _candidate(state: SubscriberState) -> Candidate:
    about = state.about
    return Candidate(
        state.uid,
        state.held,
        window=state.window,
        since_ms=_number(about.get("since_ms")),
        host=str(about.get("host", "")),
        pid=_number(about.get("pid")),
    )


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
