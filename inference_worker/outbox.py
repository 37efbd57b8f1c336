"""Answers on their way to the queue service, until their outcomes have come."""

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
from inference_worker.metrics import Metrics
from inference_worker.said import NO_RESULT, Once, rejection_line, with_code

log = logging.getLogger(__name__)


class Outbox:
    """Answers each delivery once, and counts what became of it."""

    def __init__(self, connection: WorkConnection, metrics: Metrics) -> None:
        self._connection = connection
        self._metrics = metrics
        self._once = Once(log)
        self._unconfirmed: set[asyncio.Future[Outcome]] = set()

    def answer(self, delivery: Delivery, end: Finished | Failed) -> None:
        """Say how the job of this delivery ended."""
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

    def stopped(self, delivery: Delivery) -> None:
        """Say that a delivery was stopped, as the service wished."""
        log.info("%s was stopped, because nobody wants it any more", delivery.request_id)
        self._metrics.rejections.labels(codes.CANCELED).inc()
        reason = "it was stopped"
        self._send(delivery, Rejection(delivery.index, delivery.attempt, codes.CANCELED, reason))

    async def wait_empty(self, timeout_s: float) -> int:
        """Wait for the outcomes of all answers; return how many did not come in time."""
        if self._unconfirmed:
            await asyncio.wait(set(self._unconfirmed), timeout=timeout_s)
        return len(self._unconfirmed)

    def _send(self, delivery: Delivery, answer: Answer) -> None:
        try:
            outcome = self._connection.answer(answer)
        except QueueError:
            # The connection has ended for good, and whoever iterates it is told why.  What this
            # worker held goes out again, so there is nobody to answer to.
            return
        self._unconfirmed.add(outcome)
        outcome.add_done_callback(functools.partial(self._confirmed, delivery, answer))

    def _confirmed(
        self, delivery: Delivery, answer: Answer, outcome: asyncio.Future[Outcome]
    ) -> None:
        self._unconfirmed.discard(outcome)
        if outcome.cancelled() or outcome.exception() is not None:
            # As above: the connection has ended, and the entry goes out again.
            return
        said = outcome.result()
        if said.accepted:
            return
        self._metrics.refused.labels(said.code).inc()
        log.warning(
            "The answer to delivery %d of %s was refused: %s",
            answer.attempt,
            delivery.request_id,
            said.code,
        )
        if said.code == codes.Code.FRAME_TOO_BIG and _is_result(answer):
            # No retry makes it smaller, so the client gets the reason in its place.
            self.answer(delivery, too_big(answer))
        elif said.code == codes.Code.FRAME_TOO_BIG and (shorter := cut_short(answer)):
            self._send(delivery, shorter)


def _is_result(answer: Answer) -> bool:
    return (
        isinstance(answer, Completion)
        and answer.result is not None
        and names.ERROR_CODE_TAG not in answer.result.tags
    )
