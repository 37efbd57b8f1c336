"""Answers to the queue service, until their outcomes have arrived."""

import asyncio
import functools
import logging
import random

from client_sdk.errors import QueueError
from client_sdk.wire import codes, names
from client_sdk.wire.worker import Completion, Delivery, Outcome, Rejection
from client_sdk.work import WorkConnection
from inference_worker.answers import Answer, answer_to, cut_short, too_big
from inference_worker.engines.engine import Failed, Finished
from inference_worker.finished_jobs import FinishedJobs
from inference_worker.log_messages import NO_RESULT, LogOnce, rejection_line, with_code
from inference_worker.metrics import Metrics

log = logging.getLogger(__name__)


class Outbox:
    """Answers each delivery once, and counts the outcomes."""

    def __init__(self, connection: WorkConnection, metrics: Metrics) -> None:
        self._connection = connection
        self._metrics = metrics
        self._once = LogOnce(log)
        self._unconfirmed: set[asyncio.Future[Outcome]] = set()
        self._finished = FinishedJobs()
        self._ran_s: dict[int, float] = {}

    def answer(
        self, delivery: Delivery, end: Finished | Failed, *, ran_s: float | None = None
    ) -> None:
        """Answer a delivery whose job has ended; ran_s: how long this attempt ran."""
        if ran_s is not None:
            self._ran_s[delivery.index] = ran_s
        answer = answer_to(delivery, end, draw=random.random())
        if isinstance(end, Failed) and end.code != codes.SHUTDOWN:
            self._metrics.failures.labels(end.kind).inc()
        match answer:
            case Rejection(code=code):
                self._metrics.rejections.labels(code).inc()
                log.info("%s is rejected with %s", delivery.request_id, rejection_line(answer))
            case Completion(result=None):
                self._metrics.without_result.inc()
                self._once.info(NO_RESULT, delivery.request_id)
            case _ if isinstance(end, Failed):
                self._metrics.with_error.inc()
                log.warning(
                    "%s is answered with its error after attempt %d (%s), %s",
                    delivery.request_id,
                    delivery.attempt,
                    end.kind,
                    with_code(end.code, end.message),
                )
            case _:
                self._metrics.with_result.inc()
        self._send(delivery, answer)

    def stopped(self, delivery: Delivery, *, ran_s: float) -> None:
        """Answer a delivery that was stopped because its job was canceled."""
        self._ran_s[delivery.index] = ran_s
        self._metrics.rejections.labels(codes.CANCELED).inc()
        reason = "it was stopped"
        self._send(delivery, Rejection(delivery.index, delivery.attempt, codes.CANCELED, reason))

    async def wait_empty(self, timeout_s: float) -> int:
        """Wait for the outcomes of all answers; return how many did not arrive in time."""
        if self._unconfirmed:
            await asyncio.wait(set(self._unconfirmed), timeout=timeout_s)
        self._finished.flush()
        return len(self._unconfirmed)

    def _send(self, delivery: Delivery, answer: Answer) -> None:
        try:
            outcome = self._connection.answer(answer)
        except QueueError:
            # The connection has ended for good; the loop over its events gets the reason.  The held
            # deliveries go to other workers, so no answer is needed.
            return
        self._unconfirmed.add(outcome)
        outcome.add_done_callback(functools.partial(self._confirmed, delivery, answer))

    def _confirmed(
        self, delivery: Delivery, answer: Answer, outcome: asyncio.Future[Outcome]
    ) -> None:
        self._unconfirmed.discard(outcome)
        ran_s = self._ran_s.pop(delivery.index, 0.0)
        if outcome.cancelled() or outcome.exception() is not None:
            # As above: the connection has ended, and the entry is delivered again.
            return
        reply = outcome.result()
        if reply.accepted:
            if state := _state_after(answer):
                self._finished.note(delivery, state, run_s=ran_s)
            return
        self._metrics.refused.labels(reply.code).inc()
        log.warning(
            "The answer to delivery %d of %s was refused: %s",
            answer.attempt,
            delivery.request_id,
            reply.code,
        )
        if reply.code == codes.Code.FRAME_TOO_BIG and _is_result(answer):
            # A retry would not make it smaller, so the client gets the reason instead.
            self.answer(delivery, too_big(answer), ran_s=ran_s)
        elif reply.code == codes.Code.FRAME_TOO_BIG and (shorter := cut_short(answer)):
            self._ran_s[delivery.index] = ran_s
            self._send(delivery, shorter)


def _state_after(answer: Answer) -> str:
    """Return the final state of the job after this answer; "" if it is delivered again."""
    match answer:
        case Rejection(code=codes.CANCELED):
            return "canceled"
        case Rejection():
            return ""
        case Completion(result=None):
            return "succeeded"
        case Completion():
            return "succeeded" if _is_result(answer) else "failed"


def _is_result(answer: Answer) -> bool:
    return (
        isinstance(answer, Completion)
        and answer.result is not None
        and names.ERROR_CODE_TAG not in answer.result.tags
    )
