"""Subscribers that come, go, commit and give back in any order: windows hold, nothing is lost."""

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)

from client_sdk.wire import frame, names
from tests.fuzz.cases import CASES, cases
from tests.fuzz.conftest import Fuzzed
from tests.fuzz.line import HANDSHAKE, Line
from tests.waiting import wait_until_blocking

#: Requests of one run of the machine.
STEPS = 20
#: Every user with its group and its window; the first of each group is there all the time.
WINDOWS = {("g", "g0"): 1, ("g", "g1"): 2, ("g", "g2"): 3, ("h", "h0"): 2, ("h", "h1"): 1}
ALWAYS = [("g", "g0"), ("h", "h0")]

User = tuple[str, str]
USERS = st.sampled_from(list(WINDOWS))
GUESTS = st.sampled_from([user for user in WINDOWS if user not in ALWAYS])
PICKS = st.integers(0, 3)


class Subscribers(RuleBasedStateMachine):
    """Users of two groups on one queue, and what each should hold."""

    def __init__(self, fuzzed: Fuzzed) -> None:
        super().__init__()
        self.fuzzed = fuzzed
        self.lines: dict[User, Line] = {}
        self.held: dict[User, set[int]] = {user: set() for user in WINDOWS}
        self.stored: set[int] = set()
        self.done: dict[str, set[int]] = {"g": set(), "h": set()}
        for user in ALWAYS:
            self.connect(user)

    @rule(count=st.integers(1, 3), priority=st.integers(0, 1))
    def put(self, count: int, priority: int) -> None:
        for _ in range(count):
            answer = self.fuzzed.ask("POST", f"shared?_priority_={priority}", b"x")
            self.stored.add(int(answer.body))

    @rule(user=USERS)
    def connect(self, user: User) -> None:
        """Come, or come again: the newer connection is given what the older one held."""
        line = self.fuzzed.make_line()
        query = f"shared?_watch_=true&_window_={WINDOWS[user]}"
        extra = self.identity(user) + HANDSHAKE
        assert self.fuzzed.ask("GET", query, extra=extra, line=line).status == 101
        self.leave(user)
        self.lines[user] = line

    @rule(user=GUESTS)
    def leave(self, user: User) -> None:
        line = self.lines.pop(user, None)
        self.held[user].clear()
        if line is not None:
            line.close()

    @rule(user=USERS, pick=PICKS)
    def commit(self, user: User, pick: int) -> None:
        for index in sorted(self.held[user])[pick : pick + 1]:
            self.ask("PUT", user, f"_indexes_={index}")
            self.held[user].discard(index)
            self.done[user[0]].add(index)
            self.forget_what_all_have_done()

    @rule(user=USERS, pick=PICKS)
    def commit_what_another_holds(self, user: User, pick: int) -> None:
        others = [one for one in WINDOWS if one[0] == user[0] and one != user]
        foreign = sorted(index for one in others for index in self.held[one])
        for index in foreign[pick : pick + 1]:
            self.ask("PUT", user, f"_indexes_={index}")

    @rule(user=USERS, pick=PICKS, code=st.sampled_from(["", "Shutdown", "500"]))
    def reject(self, user: User, pick: int, code: str) -> None:
        for index in sorted(self.held[user])[pick : pick + 1]:
            body = f"_code_={code}&_reason_=".encode()
            self.ask("PUT", user, f"_indexes_={index}&_negative_=true", body)
            self.held[user].discard(index)

    @rule(pick=PICKS)
    def delete(self, pick: int) -> None:
        for index in sorted(self.stored)[pick : pick + 1]:
            self.ask("DELETE", ALWAYS[0], f"_indexes_={index}")
            self.forget(index)

    @invariant()
    def everybody_holds_what_it_can(self) -> None:
        def as_expected() -> bool:
            for user, line in self.lines.items():
                for data in line.frames_so_far():
                    index = frame.decode(data).index
                    assert index in self.stored, f"{user} is given {index}, which is gone"
                    assert index not in self.done[user[0]], f"{user} has committed {index}"
                    assert not any(
                        index in self.held[one] for one in WINDOWS if one[0] == user[0]
                    ), f"{index} is given out twice"
                    self.held[user].add(index)
                assert len(self.held[user]) <= WINDOWS[user], f"{user} holds too many"
            return all(self.holding(gid) == self.could_hold(gid) for gid in self.done)

        wait_until_blocking(as_expected, "every window is full, or nothing waits")

    def teardown(self) -> None:
        try:
            while self.stored:
                self.everybody_holds_what_it_can()
                for user, window in WINDOWS.items():
                    for _ in range(window):
                        self.commit(user, 0)
            assert self.fuzzed.frames("shared") == []
        finally:
            for line in self.lines.values():
                line.close()
            self.fuzzed.ask("DELETE", f"shared?_trunc_=true&_index_={2**62}")

    def holding(self, gid: str) -> int:
        return sum(len(self.held[user]) for user in WINDOWS if user[0] == gid)

    def could_hold(self, gid: str) -> int:
        room = sum(WINDOWS[user] for user in self.lines if user[0] == gid)
        return min(room, len(self.stored - self.done[gid]))

    def forget(self, index: int) -> None:
        self.stored.discard(index)
        for held in (*self.held.values(), *self.done.values()):
            held.discard(index)

    def forget_what_all_have_done(self) -> None:
        for index in self.done["g"] & self.done["h"]:
            self.forget(index)

    def ask(self, method: str, user: User, query: str, body: bytes = b"") -> None:
        answer = self.fuzzed.ask(method, f"shared?{query}", body, extra=self.identity(user))
        assert (answer.status, answer.body) == (200, b"OK")

    def identity(self, user: User) -> bytes:
        gid, uid = user
        return f"{names.GROUP_HEADER}: {gid}\r\n{names.USER_HEADER}: {uid}\r\n".encode()


def test_no_order_of_events_breaks_a_window_or_loses_an_entry(fuzzed: Fuzzed) -> None:
    machines = max(3, round(CASES * 0.06 / STEPS))
    make = lambda: Subscribers(fuzzed)  # noqa: E731
    run_state_machine_as_test(make, settings=cases(machines / CASES, steps=STEPS))  # type: ignore[arg-type]
