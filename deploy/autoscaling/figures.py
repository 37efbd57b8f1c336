"""What a decision about scaling knows about a service at one moment."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DueJobs:
    """Waiting jobs with a deadline: this many must have started `within_s` seconds from now."""

    count: int
    within_s: float


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of one service.

    waiting, running: jobs in the input queue, and jobs that workers have.  held_back: of the
    waiting ones, those that no worker would get now, because of time windows or limits of
    their tokens, or because the sink has no room.  paused: nothing is delivered.  workers:
    those that exist and were not asked to leave, also the ones that still load their model;
    loading: how many of them do.  window: jobs that one worker runs at a time.  put_total: jobs
    accepted since any fixed moment; only differences count.  wait_s: how long a new job would
    wait, by the estimate; None without one.  run_s: how long a job runs on average.  load_s: how
    long a worker takes from its start until it takes jobs, as measured.  cpu: mean use of the
    workers' CPUs, in percent of what they may use.  due: deadlines of waiting jobs, soonest first.
    """

    waiting: int = 0
    running: int = 0
    held_back: int = 0
    paused: bool = False
    workers: int = 0
    loading: int = 0
    window: int = 1
    put_total: int = 0
    wait_s: float | None = None
    run_s: float | None = None
    load_s: float | None = None
    cpu: float | None = None
    due: tuple[DueJobs, ...] = ()

    @property
    def deliverable(self) -> int:
        """Jobs that another worker would get now."""
        return 0 if self.paused else max(0, self.waiting - self.held_back)

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits and nothing runs."""
        return not self.waiting and not self.running
