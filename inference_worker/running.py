"""The jobs that run here, each with the delivery that it is for."""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import replace

from client_sdk.wire.load import Load
from client_sdk.wire.worker import Delivery
from inference_worker.engines.engine import ENGINE_DIED, Engine, Failed, Finished, Job
from inference_worker.line import Line
from inference_worker.vitals import Vitals, measure


class Running:
    """One job that runs here, and the newest delivery that its answer is for.

    stopping: nobody wants it any more, and it is answered once nothing of it runs.
    died_beside: the engine died while it and jobs of other owners ran.
    """

    __slots__ = ("began_at", "delivery", "died_beside", "stopping", "task", "timer")

    def __init__(self, delivery: Delivery) -> None:
        self.delivery = delivery
        self.began_at = 0.0
        self.task: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.stopping = False
        self.died_beside = False

    @property
    def ran_s(self) -> float:
        """For how long it has run, in seconds; 0 before it began."""
        return asyncio.get_running_loop().time() - self.began_at if self.began_at else 0.0

    def judge(self, end: Finished | Failed) -> Finished | Failed:
        """Say of the death of an engine whether it may be another owner's doing."""
        if self.died_beside and isinstance(end, Failed) and end.code == ENGINE_DIED:
            return replace(end, uncharged=True)
        return end


def note_death(running: Iterable[Running]) -> None:
    """Note that the engine has died under these."""
    inside = [one for one in running if one.task is not None]
    if len({one.delivery.owner_mark for one in inside}) > 1:
        for one in inside:
            one.died_beside = True


def load_of(engine: Engine, line: Line[Running]) -> Load:
    """How busy a worker with this engine is."""
    ours, theirs, gauges = measure(), engine.vitals() or Vitals(), engine.gauges()
    return Load(
        running=int(gauges.get("running", line.inside)),
        waiting=int(gauges.get("waiting", 0)) + line.waiting,
        limit=engine.capacity,
        memory_bytes=ours.memory_bytes + theirs.memory_bytes,
        gpu_memory_bytes=ours.gpu_memory_bytes + theirs.gpu_memory_bytes,
        gpu_memory_total_bytes=ours.gpu_memory_total_bytes + theirs.gpu_memory_total_bytes,
        gpu_utilization=max(ours.gpu_utilization, theirs.gpu_utilization),
    )


def timeout_of(delivery: Delivery, *, limit_s: float) -> float:
    """How long an attempt may run, in seconds: the operator's or the client's limit; 0 is none."""
    return min((s for s in (limit_s, delivery.run_timeout_ms / 1000) if s), default=0.0)


def job_of(delivery: Delivery, *, timeout_s: float) -> Job:
    """Return what the engine is to run."""
    return Job(
        request_id=delivery.request_id,
        data=delivery.data,
        tags=delivery.tags,
        attempt=delivery.attempt,
        last_attempt=delivery.last_attempt,
        path=delivery.path,
        content_type=delivery.content_type,
        deadline=time.time() + timeout_s if timeout_s else None,
    )
