"""The rules that a history is held against.  Each is a function from a history to violations.

None of them asks how fast anything was, and none can be broken by a machine that is busy: where
a rule needs to know that a worker was alive, it takes only what the worker's own exchange with
the service proves.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator

from client_sdk.wire.codes import CloseCode
from tests.faults.event import Event, What
from tests.faults.history import History, Hold, Violation, owner_of

#: By worker: (answered at, sent at, connection) of each answer that the service accepted.
Exchanges = dict[str, list[tuple[float, float, int]]]


def lost(history: History) -> Iterator[Violation]:
    """Every accepted request has a result, or was made a dead letter."""
    for request_id, request in history.requests.items():
        if request.accepted is not None and not request.reads and not request.dead_letters:
            yield Violation("lost", f"{request_id} was accepted and has no result", request_id)


def duplicated(history: History) -> Iterator[Violation]:
    """No request has two results, whether its put was answered or not.

    The same entry of the sink may be read twice, by a reader that was cut off before it
    committed: that is one result.
    """
    for request_id, request in history.requests.items():
        ends = len(request.reads) + request.dead_letters
        if ends > 1:
            sentence = f"{request_id} has {ends} results: {sorted(request.reads)} in the sink"
            yield Violation("duplicated", sentence, request_id)


def invented(history: History) -> Iterator[Violation]:
    """No result is there for a request that nobody made, or that was refused."""
    for request_id, request in history.requests.items():
        if request.reads and request.asked is None:
            yield Violation("invented", f"{request_id} was never put", request_id)
        elif request.reads and request.refused and request.accepted is None:
            yield Violation("invented", f"{request_id} was refused and has a result", request_id)


def mixed_up(history: History) -> Iterator[Violation]:
    """A result is that of its own request."""
    for request_id, request in history.requests.items():
        for reads in request.reads.values():
            code = reads[0].code
            if code not in {"", "error"} and owner_of(code) in {"", owner_of(request_id)}:
                sentence = f"{request_id} has the data of another: {code}"
                yield Violation("mixed up", sentence, request_id)


def window(history: History) -> Iterator[Violation]:
    """No worker ever holds more than the largest window of its connection."""
    for who, events in history.workers.items():
        held: set[int] = set()
        size = 0
        for event in events:
            match event.what:
                case What.CONNECTED:
                    size = event.window
                case What.WINDOW:
                    # What was on its way when a window became smaller is no fault.
                    size = max(size, event.window)
                case What.DELIVERED:
                    held.add(event.index)
                    if len(held) > size:
                        sentence = f"{who} held {len(held)} with a window of {size}"
                        yield Violation("window", sentence, event.request_id)
                case What.COMPLETED | What.REJECTED | What.LOST:
                    held.discard(event.index)
                case What.CLOSING | What.KILLED:
                    held.clear()
                case _:
                    pass


def sink_room(history: History) -> Iterator[Violation]:
    """No result is made that the sink has no place for."""
    for event in history.events:
        if event.what is What.UNREAD and event.index > event.window:
            sentence = f"the sink held {event.index} results and takes {event.window}"
            yield Violation("sink room", sentence)


def two_holders(history: History, *, quarter_s: float) -> Iterator[Violation]:
    """Nothing is in the hands of two live holders at once.

    Live is a worker whose connection stood, by its own account, and that was heard: in each of
    the last four times `quarter_s`, a quarter of the lease, the service accepted an answer of it.
    """
    exchanges = _exchanges(history)
    holds: defaultdict[tuple[str, int], list[Hold]] = defaultdict(list)
    for hold in history.holds():
        holds[hold.delivery.request_id, hold.delivery.index].append(hold)
    for several in holds.values():
        if len(several) < 2:
            continue
        for first in several:
            for second in several:
                if second.delivery.attempt > first.delivery.attempt and _overlap(
                    first, second, exchanges, quarter_s
                ):
                    yield Violation(
                        "two holders",
                        f"{second.delivery.who} was given entry {first.delivery.index} "
                        f"({first.delivery.request_id}) while {first.delivery.who} held it, alive",
                        first.delivery.request_id,
                    )


def _overlap(first: Hold, second: Hold, exchanges: Exchanges, quarter_s: float) -> bool:
    given_at = second.delivery.at
    if first.delivery.who == second.delivery.who:
        return False
    if not first.delivery.at < given_at < first.until:
        return False
    return _was_heard(exchanges[first.delivery.who], given_at, first.connection, quarter_s)


def _exchanges(history: History) -> Exchanges:
    found: Exchanges = {}
    for who, events in history.workers.items():
        sent: dict[tuple[int, int], tuple[float, int]] = {}
        connection = 0
        pairs = found.setdefault(who, [])
        for event in events:
            key = (event.index, event.attempt)
            if event.what is What.CONNECTED:
                connection += 1
            elif event.what in {What.COMPLETED, What.REJECTED}:
                sent[key] = (event.at, connection)
            elif event.what is What.OUTCOME and key in sent:
                at, sent_over = sent.pop(key)
                # One that was sent again over a later connection proves nothing about either,
                # and a refusal may be the very news that the lease was over long ago.
                if sent_over == connection and not event.code:
                    pairs.append((event.at, at, connection))
    return found


def _was_heard(
    pairs: list[tuple[float, float, int]], at: float, connection: int, quarter_s: float
) -> bool:
    # A lease is renewed each third of it, for each worker that was heard since.  One that exchanged
    # words in each quarter, with a service that answered, cannot have been forgotten.
    end = bisect_right(pairs, (at, float("inf"), 0))
    quarters: set[int] = set()
    for answered_at, sent_at, over in reversed(pairs[:end]):
        if at - answered_at >= 4 * quarter_s:
            break
        quarter = int((at - sent_at) / quarter_s)
        if over == connection and quarter == int((at - answered_at) / quarter_s):
            quarters.add(quarter)
    return quarters >= {0, 1, 2, 3}


def live_lease(history: History, *, quarter_s: float) -> Iterator[Violation]:
    """The lease of a worker that speaks does not end."""
    exchanges = _exchanges(history)
    for who, events in history.workers.items():
        connection = 0
        for event in events:
            if event.what is What.CONNECTED:
                connection += 1
            elif (
                event.what is What.DISCONNECTED
                and event.code == str(int(CloseCode.LEASE_LOST))
                and _was_heard(exchanges[who], event.at, connection, quarter_s)
            ):
                sentence = f"{who} was told that its lease is over, having just been answered"
                yield Violation("live lease", sentence)


def fence(history: History) -> Iterator[Violation]:
    """Only the newest delivery of a request is answered with success, and only one is.

    The newest is the one of the highest index (a dead letter that went to the rear has a new
    one) and attempt.
    """
    for request_id, request in history.requests.items():
        accepted = {(done.who, done.index, done.attempt) for done in request.completions}
        if len(accepted) > 1:
            sentence = f"{request_id} was completed {len(accepted)} times: {sorted(accepted)}"
            yield Violation("fence", sentence, request_id)
        if not accepted or not request.deliveries:
            continue
        newest = max((given.index, given.attempt) for given in request.deliveries)
        for who, index, number in accepted:
            if (index, number) < newest:
                sentence = (
                    f"{who} completed {request_id} with attempt {number} of entry {index}, "
                    f"when attempt {newest[1]} of entry {newest[0]} was given out"
                )
                yield Violation("fence", sentence, request_id)


def stale_result(history: History) -> Iterator[Violation]:
    """A result is that of the newest delivery, or of a run that its worker got again."""
    for request_id, request in history.requests.items():
        made_by = {read.attempt for reads in request.reads.values() for read in reads} - {0}
        if not made_by or not request.deliveries:
            continue
        newest = max((given.index, given.attempt) for given in request.deliveries)
        holders = {given.who for given in request.deliveries if _key(given) == newest}
        for number in made_by - {newest[1]}:
            makers = {given.who for given in request.deliveries if given.attempt == number}
            if makers and not makers & holders:
                sentence = (
                    f"the result of {request_id} is that of attempt {number} by {sorted(makers)}, "
                    f"when attempt {newest[1]} was with {sorted(holders)}"
                )
                yield Violation("fence", sentence, request_id)


def _key(given: Event) -> tuple[int, int]:
    return given.index, given.attempt


def attempt(history: History) -> Iterator[Violation]:
    """Each delivery of an entry has another number.

    A rejection with `Shutdown`, or of an engine that died with jobs of several owners, takes the
    number back, so such requests are left out.
    """
    for request_id, request in history.requests.items():
        if request.given_back:
            continue
        seen: dict[tuple[int, int], Event] = {}
        for given in request.deliveries:
            key = (given.index, given.attempt)
            if key in seen:
                sentence = (
                    f"attempt {given.attempt} of entry {given.index} ({request_id}) was given to "
                    f"{seen[key].who} and to {given.who}"
                )
                yield Violation("attempt", sentence, request_id)
            seen[key] = given


def order(history: History) -> Iterator[Violation]:
    """On one connection the first deliveries of a lane come in the order of their indexes.

    Each token has a line of its own.
    """
    for who, events in history.workers.items():
        last: dict[tuple[int, str], int] = {}
        for event in events:
            if event.what is What.CONNECTED:
                last = {}
            elif _is_first_delivery(history, event):
                line = event.lane, history.requests[event.request_id].token
                if event.index < last.get(line, 0):
                    sentence = f"{who} was given {event.index} after {last[line]}"
                    yield Violation("order", sentence, event.request_id)
                last[line] = event.index


def priority(history: History) -> Iterator[Violation]:
    """What goes first goes before everything that was put after it was accepted."""
    for who, events in history.workers.items():
        latest_normal: Event | None = None
        latest_asked = 0.0
        for event in events:
            if event.what is What.CONNECTED:
                latest_normal, latest_asked = None, 0.0
            elif _is_first_delivery(history, event):
                request = history.requests[event.request_id]
                if event.lane == 0 and (request.asked or 0.0) > latest_asked:
                    latest_normal, latest_asked = event, request.asked or 0.0
                elif (
                    event.lane > 0
                    and latest_normal is not None
                    and request.accepted is not None
                    and request.accepted < latest_asked
                ):
                    sentence = (
                        f"{who} was given {event.request_id}, which goes first, after "
                        f"{latest_normal.request_id}, which was put later"
                    )
                    yield Violation("priority", sentence, event.request_id)


def _is_first_delivery(history: History, event: Event) -> bool:
    return (
        event.what is What.DELIVERED
        and event.attempt == 1
        and not history.requests[event.request_id].given_back
    )


def terminal(history: History) -> Iterator[Violation]:
    """Nothing comes after the end: no result after its commit, no delivery after completion.

    What was on its way before the end may arrive after it; what was asked for, or delivered,
    after the end may not.
    """
    started: dict[str, float] = {}
    for event in history.events:
        if event.what is What.STARTED:
            started[event.who] = event.at
        elif event.what is What.READ:
            done_at = history.committed.get(event.index)
            if done_at is not None and done_at < started.get(event.who, 0.0):
                sentence = f"{event.request_id} was read again after its result was committed"
                yield Violation("terminal", sentence, event.request_id)
    for request_id, request in history.requests.items():
        for done in request.completions:
            for given in request.deliveries:
                # Attempts are counted up, so a higher one is delivered later.
                if (given.index, given.attempt) > (done.index, done.attempt) and given.at > done.at:
                    sentence = f"{given.who} was given {request_id} after it was completed"
                    yield Violation("terminal", sentence, request_id)
