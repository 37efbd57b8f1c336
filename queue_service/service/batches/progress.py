"""How a batch advances: pure functions of its state."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from queue_service.service.batches.lines import Answer
from queue_service.store.batch import Part, State, Usage

#: Codes of lines that did not run, as OpenAI's API names them.
EXPIRED, CANCELLED = "batch_expired", "batch_cancelled"
NO_USAGE = Usage()
#: What is said of such a line.
SENTENCES = {
    EXPIRED: "this request was not executed before the completion window ended",
    CANCELLED: "this request was not executed because the batch was canceled",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of one line.

    place: in the plan.  text: the line for the output or the error file.  name: of its job in the
    store, which is no longer needed; "" if there is none.
    """

    place: int
    text: bytes
    succeeded: bool
    usage: Usage = NO_USAGE
    name: str = ""


def answered(batch_id: str, line: int, custom_id: str, job: str, answer: Answer) -> bytes:
    """Return the line of a request that was answered, also with an error."""
    response = {"status_code": answer.status, "request_id": job, "body": answer.body}
    return _line(batch_id, line, custom_id, {"response": response, "error": None})


def not_run(batch_id: str, line: int, custom_id: str, code: str) -> bytes:
    """Return the line of a request that did not run."""
    error = {"code": code, "message": SENTENCES[code]}
    return _line(batch_id, line, custom_id, {"response": None, "error": error})


def _line(batch_id: str, line: int, custom_id: str, rest: Mapping[str, object]) -> bytes:
    fields = {"id": f"batch_req_{batch_id.removeprefix('batch_')}_{line}", "custom_id": custom_id}
    # A surrogate that JSON allows is no text that UTF-8 can carry, so everything is escaped.
    return json.dumps({**fields, **rest}).encode() + b"\n"


def advanced(state: State, part: Part, outcomes: Sequence[Outcome]) -> State:
    """Return the state after these lines.  part: what counts of the part files with them."""
    (_, low), *ahead = _merged(
        (0, state.low), *state.ahead, *((one.place, one.place + 1) for one in outcomes)
    )
    usage = state.usage
    for outcome in outcomes:
        usage = usage.plus(outcome.usage)
    succeeded = sum(outcome.succeeded for outcome in outcomes)
    others = tuple(one for one in state.parts if one.epoch != part.epoch)
    return replace(
        state,
        completed=state.completed + succeeded,
        failed=state.failed + len(outcomes) - succeeded,
        low=low,
        ahead=tuple(ahead),
        settled=tuple(outcome.place for outcome in outcomes if outcome.name),
        usage=usage,
        parts=(*others, part),
    )


def open_places(state: State) -> Iterator[int]:
    """Yield the places whose lines have not ended, in order."""
    place = state.low
    for begin, end in state.ahead:
        yield from range(place, begin)
        place = end
    yield from range(place, state.total)


def _merged(*spans: tuple[int, int]) -> list[tuple[int, int]]:
    """Return the same places in order, with one span for those that follow each other.

    A line that is stuck would otherwise make the record grow with every line that overtakes it.
    """
    merged: list[tuple[int, int]] = []
    for begin, end in sorted(spans):
        if merged and begin <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((begin, end))
    return merged
