"""Every content has exactly one owner, whatever happens to entries and dead letters."""

import asyncio
import itertools
import secrets
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from queue_service.settings.process import Settings
from queue_service.store.artifacts import Artifact, write_artifacts
from queue_service.store.connection import confirmation_for, connect
from queue_service.store.dead_letters import Choice
from queue_service.store.entry import Completed, Filter, NewEntry, Read, Rejected
from queue_service.store.file_holders import FileHolders
from queue_service.store.keys import Keys
from queue_service.store.outcomes import Stored
from queue_service.store.payload import PAYLOAD_ID, FileOfEntry
from queue_service.store.putter import Putter
from queue_service.store.rules import Limits
from queue_service.store.scripts import Scripts
from queue_service.store.ticket import Noted, Submission
from tests.fair.shop import SERVICE, Shop
from tests.fuzz.cases import cases
from tests.leaks import find_leaks, forget

Result = TypeVar("Result")
#: An entry with more data than this takes several places.
PLACE_BYTES = 4
#: Times in the future that no test reaches.
LATER_MS = 10**13
#: A job may have this much in artifacts: four of them.
MOST_ARTIFACT_BYTES = 28
POLICIES = st.sampled_from(["Rear", "Drop", "Park", "Answer"])
FILES = st.sampled_from([0, 0, 1, 2])
SIZES = st.sampled_from([0, 1, 4, 5, 30])


def a_file(*, is_payload: bool = False) -> FileOfEntry:
    return FileOfEntry(PAYLOAD_ID + secrets.token_hex(16), 7, "0" * 64, is_payload=is_payload)


class Owners(RuleBasedStateMachine):
    """Does with entries all that can be done with them; `made` has every file that it stored."""

    def __init__(self, redis_url: str, key_prefix: str) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.redis_url, self.key_prefix = redis_url, key_prefix
        settings = Settings(redis_url=redis_url, key_prefix=key_prefix)
        confirmation = confirmation_for(settings)
        self.servers = self.do(_now(lambda: connect(settings, confirmation)))
        scripts = Scripts(self.servers, confirmation, timeout_s=30.0)
        keys = Keys(key_prefix, SERVICE)
        self.shop = Shop(scripts, keys)
        self.holders = FileHolders(scripts, keys)
        self.shop.change(
            limits=Limits(12, 1_000_000, place_bytes=PLACE_BYTES),
            sink_place_bytes=PLACE_BYTES,
            sink_capacity=8,
            max_dead_letters=3,
            max_delivery=2,
        )
        self.numbers = itertools.count()
        self.made: set[str] = set()
        #: Requests whose results were kept, and those of which one was read.
        self.kept: set[str] = set()
        self.was_read: set[str] = set()
        self.do(self.shop.join("worker", 3))

    def do(self, work: Coroutine[Any, Any, Result]) -> Result:
        return self.runner.run(work)

    def files(self, count: int) -> tuple[FileOfEntry, ...]:
        return tuple(a_file(is_payload=not number) for number in range(count))

    def note(self, files: tuple[FileOfEntry, ...]) -> None:
        self.made.update(file.id for file in files)

    @rule(policy=POLICIES, evicts=st.booleans(), retry=st.booleans())
    def change(self, policy: str, evicts: bool, retry: bool) -> None:
        self.shop.change(dead_message_policy=policy, evicts=evicts, sink_evicts=evicts)

    @rule(
        size=SIZES, files=FILES, priority=st.integers(0, 1), owner=st.sampled_from(["", "a", "b"])
    )
    def put(self, size: int, files: int, priority: int, owner: str) -> None:
        given = self.files(files)
        putter = Putter(owner, owner=owner) if owner else None
        data = b"" if given else b"x" * size
        name = f"r{next(self.numbers)}"
        entry = NewEntry(name, data, priority=priority, putter=putter, owner=owner, files=given)
        if isinstance(self.do(_taken(self.shop.store.put, entry)), Stored):
            self.note(given)

    @rule(size=SIZES, files=FILES)
    def put_result(self, size: int, files: int) -> None:
        given = self.files(files)
        entry = NewEntry(f"r{next(self.numbers)}", b"" if given else b"x" * size, files=given)
        if isinstance(self.do(_taken(self.shop.sink.put, entry)), Stored):
            self.note(given)

    @rule(
        size=SIZES,
        files=FILES,
        delayed=st.booleans(),
        expires=st.booleans(),
        again=st.booleans(),
        keep_ms=st.sampled_from([0, 1, 60_000]),
    )
    def submit(
        self, *, size: int, files: int, delayed: bool, expires: bool, again: bool, keep_ms: int
    ) -> None:
        given = self.files(files)
        submission = Submission(
            f"t{next(self.numbers)}",
            b"" if given else b"x" * size,
            "digest",
            keep_ms,
            60_000,
            begin_ms=LATER_MS if delayed else 0,
            finish_by_ms=LATER_MS + 1 if expires else 0,
            files=given,
        )
        if getattr(self.do(_taken(self.shop.tickets.submit, submission)), "is_new", False):
            self.note(given)
            self.kept.add(submission.request_id)
        if again:
            # Its own files are nobody's: the entry of the first one has others.
            more = replace(submission, files=self.files(files))
            self.do(_taken(self.shop.tickets.submit, more))

    @rule(number=st.integers(0, 40))
    def cancel(self, number: int) -> None:
        self.do(_taken(self.shop.tickets.cancel, f"t{number}"))

    @rule(picks=st.sets(st.integers(0, 40), max_size=5))
    def mark_read(self, picks: set[int]) -> None:
        names = self.kept & {f"t{number}" for number in picks}
        for name in sorted(names):
            index = self.do(_taken(self.shop.tickets.look, name)).result_index
            if index is not None and self.do(self.shop.tickets.mark_read([(name, index)])):
                self.was_read.add(name)

    @rule(number=st.integers(0, 40))
    def purge_ticket(self, number: int) -> None:
        self.do(self.shop.tickets.purge_ticket(f"t{number}"))

    @rule()
    def take(self) -> None:
        self.do(self.shop.take("worker"))

    @rule(
        name=st.sampled_from(["a.png", "b.png", "c.png"]),
        count=st.integers(1, 3),
        late=st.booleans(),
    )
    def add_artifacts(self, name: str, count: int, late: bool) -> None:
        """A running job adds files; of two of one name the last one stays."""
        for index, delivery in self.shop.held["worker"].items():
            given = [Artifact(name, a_file()) for _ in range(count)]
            noted = Noted(
                SERVICE,
                "worker",
                index,
                delivery.attempt + late,
                delivery.entry.request_id,
                next(self.numbers) + 1,
                "artifact",
                write_artifacts(given),
                0,
                artifact_bytes=MOST_ARTIFACT_BYTES,
            )
            if self.do(_taken(self.shop.tickets.note, noted)) and not late:
                # Those beyond the bounds are nobody's, as are those of an entry without a ticket.
                ids = [one.file.id for one in given]
                held = self.do(self.holders.are_held(ids))
                unneeded = set(self.do(self.holders.unneeded(count=10_000)))
                pairs = zip(ids, held, strict=True)
                self.made.update(one for one, is_held in pairs if is_held or one in unneeded)

    @rule(
        size=SIZES,
        files=FILES,
        how=st.sampled_from(["done", "nothing", "failed", "rejected", "died"]),
        late=st.booleans(),
    )
    def end(self, size: int, files: int, how: str, late: bool) -> None:
        held = self.shop.held["worker"]
        if not held:
            return
        index, delivery = held.popitem()
        attempt = delivery.attempt + late
        if how in ("rejected", "died"):
            code = "EngineDied" if how == "died" else "500"
            rejected = Rejected(SERVICE, "worker", index, attempt, code, pauses_ms=(None,))
            self.do(_taken(self.shop.store.reject, rejected))
        else:
            given = self.files(files)
            completed = Completed(
                SERVICE,
                "worker",
                index,
                attempt,
                None if how == "nothing" else b"" if given else b"x" * size,
                {} if size else {"colour": "red"},
                failed_code="500" if how == "failed" else "",
                files=() if how == "nothing" else given,
            )
            if self.do(_taken(self.shop.store.complete, completed)) and how != "nothing":
                self.note(given)
        if late:
            held[index] = delivery

    @rule(index=st.integers(1, 30), sink=st.booleans())
    def delete(self, index: int, sink: bool) -> None:
        self.do((self.shop.sink if sink else self.shop.store).delete([index]))

    @rule(index=st.integers(1, 20), sink=st.booleans())
    def truncate(self, index: int, sink: bool) -> None:
        self.do((self.shop.sink if sink else self.shop.store).truncate(index))

    @rule()
    def read(self) -> None:
        self.do(_taken(self.shop.sink.get, Read(Filter(), 2, take=True)))

    @rule()
    def end_stream(self) -> None:
        self.do(self.shop.store.end_stream(ended=True, drop=True))
        self.do(self.shop.store.end_stream(ended=False, drop=False))

    @rule()
    def replay(self) -> None:
        self.do(self.shop.store.dead_letters.replay(Choice(), most=2))

    @rule()
    def purge(self) -> None:
        self.do(self.shop.store.dead_letters.purge(Choice(), most=1))

    @rule(data=st.sampled_from([None, b"", b"x" * 9]))
    def edit(self, data: bytes | None) -> None:
        letters, _ = self.do(self.shop.store.dead_letters.list_dead(Choice(), after=None, most=1))
        for letter in letters:
            self.do(
                self.shop.store.dead_letters.edit_dead(
                    letter.index, data=data, tags={"edited": "yes"}
                )
            )

    @rule()
    def wait(self) -> None:
        self.do(self.shop.tickets.due())

    @rule()
    def leave(self) -> None:
        self.do(self.shop.leave("worker"))
        self.do(self.shop.join("worker", 3))

    @invariant()
    def every_file_has_its_owner_or_is_to_be_removed(self) -> None:
        found = find_leaks(self.redis_url, self.key_prefix)
        wrong = (" says ", "unneeded: has", "read_results: has", "was read and is gone")
        assert not [text for text in found if any(words in text for words in wrong)]
        ids = sorted(self.made)
        are_held = self.do(self.holders.are_held(ids))
        held = {one for one, is_held in zip(ids, are_held, strict=True) if is_held}
        unneeded = set(self.do(self.holders.unneeded(count=10_000)))
        assert held | unneeded == self.made
        assert not held & unneeded

    @invariant()
    def only_what_was_read_makes_room(self) -> None:
        for name in sorted(self.kept - self.was_read):
            assert "room" not in self.do(_taken(self.shop.tickets.look, name)).ticket

    def teardown(self) -> None:
        self.do(self.servers.aclose())
        self.runner.close()
        forget(self.redis_url, self.key_prefix)


async def _now(make: Any) -> Any:
    return make()


async def _taken(batcher: Any, item: Any) -> Any:
    return await batcher(item)


def test_every_content_has_one_owner_after_any_sequence(redis_url: str, key_prefix: str) -> None:
    make: Any = lambda: Owners(redis_url, key_prefix)  # noqa: E731
    run_state_machine_as_test(make, settings=cases(0.04, steps=30))
