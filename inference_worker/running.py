"""A running job with its delivery, and the load of all of them."""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import replace

from client_sdk.wire.load import Load, WorkerState
from client_sdk.wire.worker import Delivery
from inference_worker.engines.engine import (
    ENGINE_DIED,
    Engine,
    Event,
    Failed,
    Finished,
    Job,
    Usage,
)
from inference_worker.resource_usage import ResourceUsage, measure
from inference_worker.start_queue import StartQueue


class Running:
    """One running job, and the newest delivery of its entry, which gets the answer.

    stopping: it was canceled, and is answered once nothing of it runs.
    died_beside: the engine died while this job and jobs of other owners ran.
    """

    __slots__ = (
        *("began_at", "delivery", "died_beside", "has_begun", "stopping", "task", "timer", "usage"),
    )

    def __init__(self, delivery: Delivery) -> None:
        self.delivery = delivery
        self.began_at = 0.0
        self.has_begun = False
        self.task: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.stopping = False
        self.died_beside = False
        self.usage: Usage | None = None

    @property
    def ran_s(self) -> float:
        """How long it has run, in seconds; 0 before it started."""
        return asyncio.get_running_loop().time() - self.began_at if self.began_at else 0.0

    def begin(self, *, limit_s: float, time_out: Callable[["Running"], None]) -> Job:
        """Start the clock of the attempt; return its job.

        limit_s: the worker's run time-out; 0 is none.  time_out: called after the shorter one.
        """
        loop = asyncio.get_running_loop()
        self.began_at = loop.time()
        if timeout_s := timeout_of(self.delivery, limit_s=limit_s):
            self.timer = loop.call_later(timeout_s, time_out, self)
        return job_of(self.delivery, timeout_s=timeout_s)

    def stop(self) -> bool:
        """Cancel the run; return whether it had begun, so that its task answers.

        A task that is canceled before its first step never runs.
        """
        if self.task is not None:
            self.task.cancel()
        self.stopping = self.has_begun
        return self.stopping

    def stop_clock(self) -> None:
        """Stop the run time-out."""
        if self.timer is not None:
            self.timer.cancel()

    def note(self, event: Event) -> None:
        """Keep the tokens that the engine reports, for the answer."""
        if isinstance(event, Usage):
            self.usage = event

    def judge(self, end: Finished | Failed) -> Finished | Failed:
        """Complete an end: a result has its tokens.

        A failure is uncharged if another owner's job may have killed the engine.
        """
        if self.usage is not None and isinstance(end, Finished):
            return replace(end, usage=self.usage)
        if self.died_beside and isinstance(end, Failed) and end.code == ENGINE_DIED:
            return replace(end, uncharged=True)
        return end


def note_death(running: Iterable[Running]) -> None:
    """Mark the running jobs of a dead engine, if they belong to several owners."""
    inside = [one for one in running if one.task is not None]
    if len({one.delivery.owner_mark for one in inside}) > 1:
        for one in inside:
            one.died_beside = True


def state_of(engine: Engine, *, leaves: bool, rests: bool) -> WorkerState:
    """Return what a connected worker does."""
    if leaves:
        return WorkerState.DRAINING
    # Without a capacity the engine is being started again.
    return WorkerState.RESTING if rests or not engine.capacity else WorkerState.READY


def load_of(engine: Engine, start_queue: StartQueue[Running], state: WorkerState) -> Load:
    """Return the load of a worker with this engine."""
    ours, theirs, gauges = measure(), engine.resource_usage() or ResourceUsage(), engine.gauges()
    return Load(
        running=int(gauges.get("running", start_queue.started)),
        waiting=int(gauges.get("waiting", 0)) + start_queue.waiting,
        limit=engine.capacity,
        memory_bytes=ours.memory_bytes + theirs.memory_bytes,
        gpu_memory_bytes=ours.gpu_memory_bytes + theirs.gpu_memory_bytes,
        gpu_memory_total_bytes=ours.gpu_memory_total_bytes + theirs.gpu_memory_total_bytes,
        gpu_utilization=max(ours.gpu_utilization, theirs.gpu_utilization),
        state=state,
    )


def timeout_of(delivery: Delivery, *, limit_s: float) -> float:
    """Return the run time-out of an attempt, in seconds: the shorter of both limits; 0 is none."""
    return min((s for s in (limit_s, delivery.run_timeout_ms / 1000) if s), default=0.0)


def job_of(delivery: Delivery, *, timeout_s: float) -> Job:
    """Return the job of a delivery, for the engine."""
    return Job(
        request_id=delivery.request_id,
        data=delivery.data,
        tags=delivery.tags,
        attempt=delivery.attempt,
        last_attempt=delivery.last_attempt,
        path=delivery.path,
        content_type=delivery.content_type,
        deadline=time.time() + timeout_s if timeout_s else None,
        artifact_bytes=delivery.artifact_bytes,
    )
