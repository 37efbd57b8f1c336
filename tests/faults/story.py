"""Events that a test tells, for the checker to judge."""

from typing import Any

from tests.faults.checker import check
from tests.faults.event import Event, What

LEASE_S = 2.0


class Story:
    """Events of a made-up history, a tenth of a second apart."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.waited_s = 0.0

    def say(self, who: str, what: What, request_id: str = "", **more: Any) -> "Story":
        """Tell one event; more: further fields of it."""
        at = round(1.0 + self.waited_s + len(self.events) / 10, 3)
        self.events.append(Event(at, who, what, request_id, **more))
        return self

    def wait(self, seconds: float) -> "Story":
        """Let time pass until the next event."""
        self.waited_s += seconds
        return self

    def put(self, request_id: str, what: What = What.ACCEPTED) -> "Story":
        self.say("client", What.ASKED, request_id)
        return self.say("client", what, request_id)

    def connect(self, who: str, window: int = 2) -> "Story":
        return self.say(who, What.CONNECTED, window=window)

    def deliver(
        self, who: str, request_id: str, index: int, attempt: int = 1, lane: int = 0
    ) -> "Story":
        return self.say(who, What.DELIVERED, request_id, index=index, attempt=attempt, lane=lane)

    def complete(
        self, who: str, request_id: str, index: int, attempt: int = 1, code: str = ""
    ) -> "Story":
        self.say(who, What.COMPLETED, request_id, index=index, attempt=attempt)
        return self.say(who, What.OUTCOME, request_id, index=index, attempt=attempt, code=code)

    def read(self, request_id: str, index: int, code: str = "") -> "Story":
        return self.say("reader", What.READ, request_id, index=index, code=code)

    def commit(self, request_id: str, index: int) -> "Story":
        return self.say("reader", What.COMMITTED, request_id, index=index)

    def rules(self) -> set[str]:
        return {violation.rule for violation in check(self.events, lease_s=LEASE_S).violations}
