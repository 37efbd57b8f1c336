"""The checker: proves from a run's events that the promises held, or says which did not."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from tests.faults import file_rules, retry_rules, rules, scale_rules, team_rules
from tests.faults.event import Event, What
from tests.faults.history import History, Violation
from tests.faults.retries import Retries, count_retries
from tests.faults.scalings import Scalings, count_scalings


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the events of a run say."""

    accepted: int
    unknown: int
    refused: int
    results: int
    violations: tuple[Violation, ...]
    retries: Retries
    scalings: Scalings

    def count(self, rule: str) -> int:
        """How often a rule was broken."""
        return sum(violation.rule == rule for violation in self.violations)


def check(events: Iterable[Event], *, lease_s: float) -> Verdict:
    """Hold the events of a run that has come to its end against every rule."""
    history = History(events)
    requests = history.requests.values()
    return Verdict(
        accepted=sum(request.accepted is not None for request in requests),
        unknown=sum(
            request.asked is not None and request.accepted is None and not request.refused
            for request in requests
        ),
        refused=sum(event.what is What.REFUSED for event in history.events),
        results=sum(len(request.reads) for request in requests),
        violations=tuple(_violations(history, lease_s)),
        retries=count_retries(history),
        scalings=count_scalings(history),
    )


def _violations(history: History, lease_s: float) -> Iterator[Violation]:
    quarter_s = lease_s / 4
    every: tuple[Callable[[History], Iterator[Violation]], ...] = (
        rules.lost,
        rules.duplicated,
        rules.invented,
        rules.mixed_up,
        rules.window,
        rules.sink_room,
        partial(rules.two_holders, quarter_s=quarter_s),
        partial(rules.live_lease, quarter_s=quarter_s),
        rules.fence,
        rules.stale_result,
        rules.attempt,
        rules.order,
        rules.priority,
        rules.terminal,
        retry_rules.pause,
        retry_rules.attempts,
        team_rules.foreign,
        team_rules.revoked,
        scale_rules.charged,
        file_rules.wrong_bytes,
    )
    for rule in every:
        yield from rule(history)
