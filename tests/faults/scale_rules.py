"""The rule about workers that come and go; as those of rules.py."""

from collections.abc import Iterator

from client_sdk.wire.codes import SHUTDOWN
from tests.faults.event import Event, What
from tests.faults.history import History, Hold, Violation


def charged(history: History) -> Iterator[Violation]:
    """No attempt is charged, and no work thrown away, because the number of workers changed.

    A worker that no fault was aimed at answers for whatever it holds, and ends only when it was
    asked to.  One that was asked gets nothing more.  What it holds may end otherwise only by what
    it cannot help: its connection broke, or the service told it that the delivery is lost.
    """
    yield from _given_up(history)
    yield from _given_to_a_leaver(history)
    yield from _ended_unasked(history)
    yield from _held_by_nobody(history)


def _given_up(history: History) -> Iterator[Violation]:
    for hold in history.holds():
        given = hold.delivery
        if given.who in history.hurt or not (how := _gave_up(history, hold)):
            continue
        sentence = f"{given.who} {how} {given.request_id} (attempt {given.attempt})"
        yield Violation("charged", sentence, given.request_id)


def _gave_up(history: History, hold: Hold) -> str:
    """Say how a worker parted with what it had not finished; "" when it was not by scaling."""
    given, end = hold.delivery, hold.end
    if end is not None and end.what is What.REJECTED:
        asked_at = history.leaving.get(given.who)
        is_given_back = end.code == SHUTDOWN and asked_at is not None and asked_at <= end.at
        return "was asked to leave and gave back" if is_given_back else ""
    if not history.is_over or (end is not None and end.what is not What.CLOSING):
        # The worker may answer yet, or could not help it.
        return ""
    if _got_again(history, given):
        # It answers for the newer attempt alone.
        return ""
    return "ended in the middle of" if end is None else "closed its connection and still held"


def _got_again(history: History, given: Event) -> bool:
    return any(
        later.who == given.who and later.index == given.index and later.attempt > given.attempt
        for later in history.requests[given.request_id].deliveries
    )


def _given_to_a_leaver(history: History) -> Iterator[Violation]:
    for who in history.leaving:
        is_leaving = False
        for event in history.workers[who]:
            # In the order in which they came, and not by their times.
            is_leaving = is_leaving or event.what is What.LEAVING
            if is_leaving and event.what is What.DELIVERED:
                sentence = f"{who} was given {event.request_id} after it was asked to leave"
                yield Violation("charged", sentence, event.request_id)


def _ended_unasked(history: History) -> Iterator[Violation]:
    over_at = [event.at for event in history.events if event.what is What.ENDING]
    if not over_at:
        return
    for who, events in history.workers.items():
        if who in history.hurt or who in history.leaving:
            continue
        if any(event.what is What.CLOSING and event.at < over_at[0] for event in events):
            sentence = f"{who} ended, and neither a fault nor the service was the reason"
            yield Violation("charged", sentence)


def _held_by_nobody(history: History) -> Iterator[Violation]:
    """An attempt that no worker noted was on its way to one that was hurt, or cut off."""
    hurt = history.spells("")
    breaks = [event.at for event in history.events if event.what is What.DISCONNECTED]
    for request_id, request in history.requests.items():
        if request.asked is None or request.given_back:
            continue
        noted = {(given.index, given.attempt) for given in request.deliveries}
        for given in request.deliveries:
            if given.attempt == 1 or (given.index, given.attempt - 1) in noted:
                continue
            began, ended = request.asked, given.at
            if any(start < ended and end > began for start, end in hurt):
                continue
            if any(began < at < ended for at in breaks):
                continue
            sentence = (
                f"{given.who} was given attempt {given.attempt} of {request_id}, and nobody had "
                f"attempt {given.attempt - 1}, although nothing was hurt"
            )
            yield Violation("charged", sentence, request_id)
