"""Which deliveries a worker gives back without running them.  Pure."""

from client_sdk.wire import codes
from client_sdk.wire.worker import Delivery
from inference_worker.answers import POISON_JOB
from inference_worker.engines.engine import Failed

#: A job that has killed the engines of so many workers is not run any more.
MOST_DEATHS = 2


def refusal_of(delivery: Delivery, *, is_leaving: bool, is_resting: bool) -> Failed | None:
    """Say why this delivery is not run, if it is not."""
    if delivery.deaths >= MOST_DEATHS:
        sentence = f"the engines of {delivery.deaths} workers died while they ran it"
        return Failed(POISON_JOB, sentence, retryable=False)
    # These two were on their way when the window became 0.
    if is_leaving:
        return Failed(codes.SHUTDOWN, "the worker is leaving")
    if is_resting:
        return Failed(codes.SHUTDOWN, "the worker's engine is begun anew")
    return None
