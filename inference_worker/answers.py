"""From the end of a job to the answer for the queue service.  Pure.

Finished with output          completion; the output goes to the sink
Finished without output       completion without a result; the sink gets nothing
Failed, a retry may help      rejection with its code and type; the entry is delivered again, after
                              the pause of its retry policy if it has one
The engine died with jobs of  the first time, a rejection that does not count: any of the jobs may
several owners in it          be the cause, and each runs alone the next time
Failed for good               completion; the sink gets the message, or the data that the engine
                              gave instead, tagged with the codes; unless the input is the cause,
                              the failure is reported too, and the service may keep a dead letter

`refusal_of` decides about deliveries that are not run at all.
"""

from http import HTTPStatus

from client_sdk.wire import codes, names
from client_sdk.wire.retry import Again, AttemptPolicy, asked_pause_s, next_attempt
from client_sdk.wire.worker import Completion, Delivery, Failure, Rejection, Result
from inference_worker.engines.engine import BAD_INPUT, RESULT_TOO_BIG, Failed, Finished, Usage
from inference_worker.engines.upstream.refused import (
    UPSTREAM_DOWN,
    UPSTREAM_GARBAGE,
    UPSTREAM_TIMEOUT,
    with_short_message,
)

Answer = Completion | Rejection

#: The failure of a job that exceeded its run time-out.
RUN_TIMEOUT = "RunTimeout"

#: The failure of a job that crashed the engines of several workers.
POISON_JOB = "PoisonJob"

#: A job that crashed the engines of this many workers is not run again.
MAX_DEATHS = 2

#: The most characters of a failure's message; an exception can quote a whole tensor.
MAX_MESSAGE_LENGTH = 1000

_STATUSES = {
    BAD_INPUT: HTTPStatus.BAD_REQUEST,
    RESULT_TOO_BIG: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    RUN_TIMEOUT: HTTPStatus.GATEWAY_TIMEOUT,
    UPSTREAM_DOWN: HTTPStatus.BAD_GATEWAY,
    UPSTREAM_GARBAGE: HTTPStatus.BAD_GATEWAY,
    UPSTREAM_TIMEOUT: HTTPStatus.GATEWAY_TIMEOUT,
}


def refusal_of(delivery: Delivery, *, is_leaving: bool, is_resting: bool) -> Failed | None:
    """Return why this delivery is answered without running it; None if it is run."""
    if delivery.deaths >= MAX_DEATHS:
        sentence = f"the engines of {delivery.deaths} workers died while they ran it"
        return Failed(POISON_JOB, sentence, retryable=False)
    # These two cases were sent before the service knew that the window is 0.
    if is_leaving:
        return Failed(codes.SHUTDOWN, "the worker is leaving")
    if is_resting:
        return Failed(codes.SHUTDOWN, "the worker's engine is being restarted")
    return None


def answer_to(delivery: Delivery, end: Finished | Failed, *, draw: float = 0.0) -> Answer:
    """Return the answer for this end of a delivery's job.

    draw: a random number from 0 to 1, for the jitter of a pause.
    """
    match end:
        case Finished(output, tags):
            if end.content_type:
                tags = {**tags, names.CONTENT_TYPE_TAG: end.content_type}
            result = Result(output, tags, end.file) if output or end.file else None
            used = end.usage or Usage()
            return Completion(
                delivery.index,
                delivery.attempt,
                result,
                prompt_tokens=used.prompt_tokens,
                completion_tokens=used.completion_tokens,
            )
        case Failed(code, message, retryable, data):
            # A file name in an exception may have bytes that are not valid UTF-8.
            message = message[:MAX_MESSAGE_LENGTH].encode(errors="replace").decode()
            # Shutdown: the job never started, so it does not use up an attempt, even the last one.
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
    """Return the next attempt after a retryable failure; None if there is none."""
    if delivery.last_attempt:
        return None
    if delivery.retry is None:
        if failed.after_s is not None:
            return Again(asked_pause_s(failed.after_s))
        if not failed.is_busy:
            # PAI EAS's rule: at once, for every failure.
            return Again()
        # At once, all attempts would meet the same overload.
        return next_attempt(AttemptPolicy(), failed.kind, attempt=delivery.attempt, draw=draw)
    return next_attempt(
        delivery.retry,
        failed.kind,
        attempt=delivery.attempt,
        was_alone=delivery.alone or delivery.deaths > 0,
        asked_s=failed.after_s,
        draw=draw,
    )


def cut_short(answer: Answer) -> Answer | None:
    """Return the answer of a failure with less data, or None for any other answer.

    For a sink that refused it as too big: the client needs the codes most.
    """
    match answer:
        case Completion(index, attempt, Result(data, tags), failed) if (
            names.ERROR_CODE_TAG in tags and len(data) > MAX_MESSAGE_LENGTH
        ):
            short = with_short_message(
                data, most_bytes=MAX_MESSAGE_LENGTH, most_characters=MAX_MESSAGE_LENGTH // 5
            )
            return Completion(index, attempt, Result(short[:MAX_MESSAGE_LENGTH], tags), failed)
        case _:
            return None


def too_big(answer: Answer) -> Failed:
    """Return the failure of a job whose result is larger than the sink's limit."""
    result = answer.result if isinstance(answer, Completion) else None
    size = f"{len(result.data)} bytes" if result and not result.file else "a file"
    sentence = (
        f"the result has {size}, more than the sink accepts; raise max_payload_size_kb "
        "(`penstock up --max-payload-kb`, PENSTOCK_MAX_PAYLOAD_KB in compose)"
    )
    return Failed(RESULT_TOO_BIG, sentence, retryable=False)


def status_of(code: str) -> str:
    """Return the number for the tag `lastCode`.

    PAI's predictor reads that tag with int(), so a word would break its clients.
    """
    if code.isascii() and code.isdigit():
        return code
    return str(int(_STATUSES.get(code, HTTPStatus.INTERNAL_SERVER_ERROR)))
