"""From the end of a job to the answer that the queue service is given.  Pure.

Finished with output          completion; the output goes to the sink
Finished without output       completion without a result; the sink gets nothing
Failed, another try helps     rejection with its code and its type; the entry goes out again, after
                              the pause of its retry policy if it has one
The engine died with jobs of  a rejection that is not counted, the first time: it is not known whose
several owners in it          job was to blame, and each runs alone the next time
Failed for good               completion; the sink gets the sentence, or the data that the engine
                              gave in its place, tagged with its codes; unless the input is to
                              blame the service is told, which may keep a dead letter
"""

from http import HTTPStatus

from client_sdk.wire import codes, names
from client_sdk.wire.retry import Again, asked_pause_s, next_attempt
from client_sdk.wire.worker import Completion, Delivery, Failure, Rejection, Result
from inference_worker.engines.engine import BAD_INPUT, RESULT_TOO_BIG, Failed, Finished
from inference_worker.engines.upstream.answer import (
    UPSTREAM_DOWN,
    UPSTREAM_GARBAGE,
    UPSTREAM_TIMEOUT,
)

Answer = Completion | Rejection

#: The failure of a job that ran for longer than it may.
RUN_TIMEOUT = "RunTimeout"

#: The failure of a job under which the engines of several workers have died.
POISON_JOB = "PoisonJob"

#: A failure is told in at most so many characters; an exception can quote a whole tensor.
MAX_MESSAGE_LENGTH = 1000

_STATUSES = {
    BAD_INPUT: HTTPStatus.BAD_REQUEST,
    RESULT_TOO_BIG: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    RUN_TIMEOUT: HTTPStatus.GATEWAY_TIMEOUT,
    UPSTREAM_DOWN: HTTPStatus.BAD_GATEWAY,
    UPSTREAM_GARBAGE: HTTPStatus.BAD_GATEWAY,
    UPSTREAM_TIMEOUT: HTTPStatus.GATEWAY_TIMEOUT,
}


def answer_to(delivery: Delivery, end: Finished | Failed, *, draw: float = 0.0) -> Answer:
    """Return what this end of its job means for the delivery.

    draw: a random number from 0 to 1, for the jitter of a pause.
    """
    match end:
        case Finished(output, tags):
            result = Result(output, tags) if output else None
            return Completion(delivery.index, delivery.attempt, result)
        case Failed(code, message, retryable, data):
            # The name of a file, quoted in an exception, may have bytes that are no character.
            message = message[:MAX_MESSAGE_LENGTH].encode(errors="replace").decode()
            # A job that the worker could not even begin is never charged for it, and therefore
            # never at its last attempt.
            if code == codes.SHUTDOWN:
                return Rejection(delivery.index, delivery.attempt, code, message)
            uncharged = end.uncharged and delivery.deaths == 0
            again = Again() if uncharged else None
            if again is None and retryable:
                again = next_of(delivery, end, draw=draw)
            if again is not None:
                return Rejection(
                    delivery.index,
                    delivery.attempt,
                    code,
                    message,
                    type=end.kind,
                    pause_ms=round(again.pause_s * 1000),
                    alone=again.alone,
                    request_id=delivery.request_id if delivery.events else "",
                    uncharged=uncharged,
                )
            tags = {
                names.LAST_CODE_TAG: status_of(code),
                names.ERROR_CODE_TAG: code,
                names.ERROR_TYPE_TAG: end.kind,
            }
            data = data or (message or code).encode()
            failed = None if code == BAD_INPUT else Failure(code, message, end.kind)
            return Completion(delivery.index, delivery.attempt, Result(data, tags), failed)


def next_of(delivery: Delivery, failed: Failed, *, draw: float) -> Again | None:
    """Return what follows a failure that another attempt may cure; None for the end."""
    if delivery.last_attempt:
        return None
    if delivery.retry is None:
        # PAI EAS's rules: at once, whatever it was; but nobody asks for a pause in vain.
        return Again() if failed.after_s is None else Again(asked_pause_s(failed.after_s))
    return next_attempt(
        delivery.retry,
        failed.kind,
        attempt=delivery.attempt,
        was_alone=delivery.alone or delivery.deaths > 0,
        asked_s=failed.after_s,
        draw=draw,
    )


def cut_short(answer: Answer) -> Answer | None:
    """Return a failure's answer with less of its data, or None for any other answer.

    For a sink that found it too big: its codes are what the client needs most.
    """
    match answer:
        case Completion(index, attempt, Result(data, tags), failed) if (
            names.ERROR_CODE_TAG in tags and len(data) > MAX_MESSAGE_LENGTH
        ):
            return Completion(index, attempt, Result(data[:MAX_MESSAGE_LENGTH], tags), failed)
        case _:
            return None


def too_big(answer: Answer) -> Failed:
    """Return the failure of a job whose result the sink did not take for its size."""
    result = answer.result if isinstance(answer, Completion) else None
    size = len(result.data) if result else 0
    sentence = (
        f"the result of {size} bytes is larger than the sink takes; its limit is the setting "
        "max_payload_size_kb (`penstock up --max-payload-kb`, PENSTOCK_MAX_PAYLOAD_KB in compose)"
    )
    return Failed(RESULT_TOO_BIG, sentence, retryable=False)


def status_of(code: str) -> str:
    """Return a failure's code as the number that `lastCode` has to be.

    PAI's predictor reads that tag with int(), so a word there would break every client of it.
    """
    if code.isascii() and code.isdigit():
        return code
    return str(int(_STATUSES.get(code, HTTPStatus.INTERNAL_SERVER_ERROR)))
