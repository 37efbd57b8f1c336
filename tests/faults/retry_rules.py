"""The rules about what follows a failed attempt; as those of rules.py."""

from collections.abc import Iterator

from tests.faults.cells import Fault
from tests.faults.history import History, Pause, Violation

#: A pause is counted by Redis's clock in whole milliseconds, and here by another clock, in seconds.
TOLERANCE_S = 0.01


def pause(history: History) -> Iterator[Violation]:
    """No attempt begins before the pause is over that the service accepted for the last one.

    The worker notes a failure before it tells the service, and a delivery after it came, so what
    lies between them is never shorter than the pause was.  Redis counts the pause: where its clock
    was moved meanwhile, nothing follows.
    """
    moved = history.spells(Fault.CLOCK)
    for request_id, request in history.requests.items():
        for paused in request.pauses:
            for given in request.deliveries:
                if given.index != paused.index or given.attempt <= paused.attempt:
                    continue
                early_s = paused.until - given.at
                if early_s > TOLERANCE_S and not _overlaps(moved, paused, given.at):
                    sentence = (
                        f"{given.who} was given attempt {given.attempt} of {request_id} "
                        f"{early_s:.3f} s before its pause of "
                        f"{paused.until - paused.began:.3f} s was over"
                    )
                    yield Violation("pause", sentence, request_id)


def _overlaps(spells: list[tuple[float, float]], paused: Pause, until: float) -> bool:
    return any(began < until and ended > paused.began for began, ended in spells)


def attempts(history: History) -> Iterator[Violation]:
    """No request has more attempts than it asked for."""
    for request_id, request in history.requests.items():
        if not request.most:
            continue
        hands_out = {(given.index, given.attempt) for given in request.deliveries}
        highest = max((given.attempt for given in request.deliveries), default=0)
        if (found := max(highest, len(hands_out))) > request.most:
            sentence = f"{request_id} had {found} attempts, and may have {request.most}"
            yield Violation("attempts", sentence, request_id)
