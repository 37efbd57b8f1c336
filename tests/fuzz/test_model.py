"""A queue beside its model: after any requests the one holds exactly what the other does."""

import base64
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.fuzz.cases import CASES, cases
from tests.fuzz.conftest import Fuzzed

#: Requests of one run of the machine.
STEPS = 25

COLOURS = st.sampled_from(["", "red", "blue"])
_numbers: Iterator[int] = itertools.count()


@dataclass(frozen=True)
class Known:
    """An entry as the model has it."""

    data: bytes
    colour: str
    priority: int


class QueueAndModel(RuleBasedStateMachine):
    """Puts, reads and removes; compares each answer with what it should be."""

    def __init__(self, fuzzed: Fuzzed) -> None:
        super().__init__()
        self.fuzzed = fuzzed
        self.run = next(_numbers)
        self.known: dict[int, Known] = {}
        self.by_request_id: dict[str, int] = {}
        self.ended = False
        self.last = 0
        self.ok("POST", "_eos_=false")
        self.ok("DELETE", f"_trunc_=true&_index_={2**62}")

    def ok(self, method: str, query: str, body: bytes = b"") -> bytes:
        answer = self.fuzzed.ask(method, f"modelled?{query}", body)
        assert answer.status in (200, 204), answer
        return answer.body

    @rule(
        data=st.binary(max_size=30),
        colour=COLOURS,
        priority=st.integers(0, 2),
        request_id=st.sampled_from(["", "", "a", "b"]),
    )
    def put(self, data: bytes, colour: str, priority: int, request_id: str) -> None:
        query = f"_priority_={priority}" + (f"&colour={colour}" if colour else "")
        if request_id:
            request_id = f"{self.run}-{request_id}"
            query += f"&requestId={request_id}"
        answer = self.fuzzed.ask("POST", f"modelled?{query}", data)
        if request_id in self.by_request_id:
            assert int(answer.body) == self.by_request_id[request_id]
        elif self.ended:
            assert answer.status == 409
        else:
            index = int(answer.body)
            assert index > self.last
            self.last = index
            self.known[index] = Known(data, colour, priority)
            if request_id:
                self.by_request_id[request_id] = index

    @rule(
        start=st.sampled_from(["0", "-1", "first", "last"]),
        length=st.integers(1, 4),
        colour=COLOURS,
        delete=st.booleans(),
    )
    def get(self, start: str, length: int, colour: str, delete: bool) -> None:
        wanted = sorted(i for i, one in self.known.items() if colour in ("", one.colour))
        index = {"first": min(self.known, default=0) + 1, "last": self.last}.get(start, start)
        if start == "-1":
            wanted = wanted[-length:]
        else:
            wanted = [one for one in wanted if one >= int(index)][:length]
        query = f"_raw_=false&_index_={index}&_length_={length}&_auto_delete_={str(delete).lower()}"
        body = self.ok("GET", query + (f"&colour={colour}" if colour else ""))
        frames = json.loads(body) if body else []
        assert [frame["index"] for frame in frames] == wanted
        for frame in frames:
            assert base64.b64decode(frame["data"]) == self.known[frame["index"]].data
        if delete:
            self.forget(wanted)

    @rule(verb=st.sampled_from(["PUT", "DELETE"]), picks=st.lists(st.integers(-2, 10), min_size=1))
    def commit_or_delete(self, verb: str, picks: list[int]) -> None:
        indexes = [max(0, self.last - pick) for pick in picks]
        self.ok(verb, f"_indexes_={','.join(map(str, indexes))}")
        self.forget(indexes)

    @rule(back=st.integers(-1, 8))
    def truncate(self, back: int) -> None:
        below = max(0, self.last - back)
        self.ok("DELETE", f"_trunc_=true&_index_={below}")
        self.forget([index for index in self.known if index < below])

    @rule(colour=COLOURS, priority=st.sampled_from([None, 0, 1, 2]))
    def count(self, colour: str, priority: int | None) -> None:
        query = "_count_=true" + (f"&colour={colour}" if colour else "")
        query += "" if priority is None else f"&_priority_={priority}"
        found = [one for one in self.known.values() if colour in ("", one.colour)]
        if priority is not None:
            found = [one for one in found if bool(one.priority) == bool(priority)]
        assert int(self.ok("GET", query)) == len(found)

    @rule(back=st.integers(0, 8))
    def search(self, back: int) -> None:
        index = max(1, self.last - back)
        answer = self.fuzzed.ask("GET", f"modelled?_search_=true&_index_={index}")
        assert answer.status == (200 if index in self.known else 404)

    @rule(force=st.booleans())
    def end(self, force: bool) -> None:
        self.ok("POST", f"_eos_=true&_force_={str(force).lower()}")
        self.ended = True
        if force:
            self.known.clear()

    @precondition(lambda self: self.ended)
    @rule()
    def open_again(self) -> None:
        self.ok("POST", "_eos_=false")
        self.ended = False

    @invariant()
    def attributes_agree(self) -> None:
        attributes = json.loads(self.ok("GET", "_attrs_=true"))
        assert int(attributes["stream.length"]) == len(self.known)
        assert int(attributes["stream.firstEntry"]) == min(self.known, default=0)
        assert int(attributes["stream.lastEntry"]) == max(self.known, default=0)
        assert attributes["meta.state"] == ("End" if self.ended else "Normal")

    def teardown(self) -> None:
        frames = self.fuzzed.frames("modelled")
        assert [frame["index"] for frame in frames] == sorted(self.known)

    def forget(self, indexes: list[int]) -> None:
        for index in indexes:
            self.known.pop(index, None)


def test_a_queue_and_its_model_agree_after_any_requests(fuzzed: Fuzzed) -> None:
    machines = max(3, round(CASES * 0.1 / STEPS))
    make: Any = lambda: QueueAndModel(fuzzed)  # noqa: E731
    run_state_machine_as_test(make, settings=cases(machines / CASES, steps=STEPS))
