"""One job that runs here, and the delivery that it is for."""

import asyncio
import time

from client_sdk.wire.worker import Delivery
from inference_worker.engines.engine import Job


class Running:
    """One job that runs here, and the newest delivery that its answer is for.

    stopping: nobody wants it any more, and it is answered once nothing of it runs.
    """

    __slots__ = ("began_at", "delivery", "stopping", "task", "timer")

    def __init__(self, delivery: Delivery) -> None:
        self.delivery = delivery
        self.began_at = 0.0
        self.task: asyncio.Task[None] | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.stopping = False

    @property
    def ran_s(self) -> float:
        """For how long it has run, in seconds; 0 before it began."""
        return asyncio.get_running_loop().time() - self.began_at if self.began_at else 0.0


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
