"""Faults that hit files in transfer: an upload, a fetch for a job, or the storing of a result.

A wire is slowed, large jobs are put, and nothing is hurt before a file is seen on its way.
"""

import contextlib
import resource
from collections.abc import AsyncIterator, Callable, Iterable
from enum import Enum

from tests.faults.cells import Cell, Fault, Victim
from tests.faults.cluster import Cluster
from tests.faults.part import Part
from tests.waiting import WaitedInVain, let_pass, wait_until

#: Large jobs of each team, and their bytes: over a slow wire they take about two seconds.
JOBS, BYTES = 4, 600_000
#: The bytes of those that meet a full disk, and how large a file may become then.
BIG_BYTES, FULL_AT_BYTES = 1_800_000, 1_000_000
#: How much more may be written beside it: a worker also writes its journal.
JOURNAL_BYTES = 300_000
#: How long a file must be in transfer, in seconds.  On a machine that is hurt at the same time it
#: may never be; the fault happens anyway.
PATIENCE_S = 8.0
#: How long a disk is full, in seconds.
FULL_S = 2.0

UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)


class Way(Enum):
    """Where a file is in transfer."""

    UPLOAD = "upload"
    FETCH = "fetch"
    RESULT = "result"


WAYS = {
    Fault.KILL_IN_UPLOAD: Way.UPLOAD,
    Fault.FULL_IN_UPLOAD: Way.UPLOAD,
    Fault.KILL_IN_FETCH: Way.FETCH,
    Fault.FULL_IN_FETCH: Way.FETCH,
    Fault.KILL_IN_RESULT: Way.RESULT,
    Fault.FULL_IN_RESULT: Way.RESULT,
}

#: The faults in which a disk is full.
FULL = {Fault.FULL_IN_UPLOAD, Fault.FULL_IN_FETCH, Fault.FULL_IN_RESULT}


class FileFaults:
    """Puts files in transfer.  is_hurt: says of the name of a part whether a fault has it.

    met, missed: how many faults found a file on its way, and how many did not.
    """

    def __init__(self, cluster: Cluster, is_hurt: Callable[[str], bool]) -> None:
        self.met = self.missed = 0
        self._cluster = cluster
        self._is_hurt = is_hurt

    @contextlib.asynccontextmanager
    async def on_their_way(self, cell: Cell, parts: list[Part]) -> AsyncIterator[None]:
        """Have files in transfer inside of the block, as this fault needs them."""
        cluster, way = self._cluster, WAYS[cell.fault]
        links = [part.name for part in self._slowed(cell, parts)]
        size_bytes = BIG_BYTES if cell.fault in FULL else BYTES
        for link in links:
            cluster.tell("slow", link)
        try:
            for team in parts if cell.victim is Victim.CLIENT else cluster.teams:
                team.tell(f"large {JOBS} {size_bytes}")
            of = parts if cell.victim in {Victim.WORKER, Victim.ENGINE} else ()
            try:
                description = f"files are on their way: {way.value}"
                await wait_until(lambda: self._is_met(way, of), description, PATIENCE_S)
                self.met += 1
            except WaitedInVain:
                self.missed += 1
            yield
        finally:
            for link in links:
                cluster.tell("heal", link)

    async def fill(self, parts: list[Part]) -> None:
        """Let files of these processes, or of the queue services, grow no further for a while."""
        # All of them: each has opened files of its own, and one that starts now has no limit.
        hurt = parts or self._cluster.services
        for part in hurt:
            journal_bytes = part.journal.stat().st_size if part.journal.exists() else 0
            _limit(part, (max(FULL_AT_BYTES, journal_bytes + JOURNAL_BYTES), UNLIMITED[1]))
        await let_pass(FULL_S)
        for part in hurt:
            _limit(part, UNLIMITED)

    def _slowed(self, cell: Cell, parts: list[Part]) -> Iterable[Part]:
        if cell.victim in {Victim.CLIENT, Victim.WORKER, Victim.ENGINE}:
            return parts
        cluster = self._cluster
        is_upload = WAYS[cell.fault] is Way.UPLOAD
        others = cluster.teams if is_upload else cluster.team_workers
        return [part for part in others if not self._is_hurt(part.name)]

    def _is_met(self, way: Way, of: Iterable[Part]) -> bool:
        cluster = self._cluster
        if way is Way.UPLOAD:
            return any((cluster.files_dir / "incoming").glob("*"))
        name = ".in_*.part" if way is Way.FETCH else "output"
        workers = [part.who for part in of] or ["*"]
        return any(any(cluster.job_files_dir.glob(f"{who}/*/{name}")) for who in workers)


def _limit(part: Part, limit: tuple[int, int]) -> None:
    with contextlib.suppress(ProcessLookupError):
        if part.running:
            resource.prlimit(part.pid, resource.RLIMIT_FSIZE, limit)
