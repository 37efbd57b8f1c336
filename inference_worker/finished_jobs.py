"""One log line for each finished job: its id, state, attempt, wait and run.

    job r-1 succeeded: attempt 1, waited 0.042 s, ran 1.310 s

One log record per job would cost a fast worker a tenth of its time.  So the lines of 0.1 s share
one record; our formatters know `JOBS` and write one line per job.
"""

import asyncio
import json
import logging
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from client_sdk.plain_text import one_line
from client_sdk.wire.worker import Delivery

#: How long lines are collected for one record, in seconds.
GATHER_S = 0.1

#: The attribute of a log record that has the jobs.
JOBS = "finished_jobs"

log = logging.getLogger(__name__)


class FinishedJob(NamedTuple):
    """The content of a line.  wait_s: from the put to this attempt.  run_s: this attempt."""

    id: str
    state: str
    attempt: int
    wait_s: float
    run_s: float

    def __str__(self) -> str:
        shown = self.id if self.id.isprintable() else one_line(self.id)
        return (
            f"job {shown} {self.state}: attempt {self.attempt}, "
            f"waited {self.wait_s:.3f} s, ran {self.run_s:.3f} s"
        )


class FinishedJobs:
    """Collects finished jobs, and logs them."""

    def __init__(self) -> None:
        self._jobs: list[FinishedJob] = []
        self._timer: asyncio.TimerHandle | None = None

    def note(self, delivery: Delivery, state: str, *, run_s: float) -> None:
        """Log a job soon."""
        if not log.isEnabledFor(logging.INFO):
            return
        # Redis' clock may be ahead of ours, so never negative; older entries have no time.
        stored_at = delivery.stored_at_ms / 1000
        wait_s = max(0.0, time.time() - run_s - stored_at) if stored_at else 0.0
        self._jobs.append(FinishedJob(delivery.request_id, state, delivery.attempt, wait_s, run_s))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(GATHER_S, self.flush)

    def flush(self) -> None:
        """Log the collected jobs now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        jobs, self._jobs = self._jobs, []
        if jobs:
            log.info(_Lines(jobs), extra={JOBS: jobs})


class _Lines(list[FinishedJob]):
    """The message of a record, for formatters that do not know `JOBS`."""

    def __str__(self) -> str:
        return "\n".join(map(str, self))


def lines_of(record: logging.LogRecord) -> Sequence[FinishedJob]:
    """Return the finished jobs of a record; other records have none."""
    jobs: Sequence[FinishedJob] = getattr(record, JOBS, ())
    return jobs


def as_json(line: Mapping[str, object], job: FinishedJob) -> str:
    """Return the line of one job in a JSON log."""
    shown = job._asdict() | {"wait_s": round(job.wait_s, 3), "run_s": round(job.run_s, 3)}
    return json.dumps({**line, "message": str(job), "job": shown}, ensure_ascii=False)
