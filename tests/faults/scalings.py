"""How workers came and went in a run, as numbers."""

from dataclasses import dataclass, field

from tests.faults.event import What
from tests.faults.history import History


@dataclass(slots=True)
class Scalings:
    """What a run says of its autoscalers.

    came: workers that they had started.  left: workers that were asked to leave; busy: those of
    them that held jobs then.  held, finished: these jobs, and those that their worker answered
    itself.  longest_s: the longest that one was finished after its worker was asked.
    killed, frozen: autoscalers.  takeover_s: from each of these until another one decided.
    """

    came: int = 0
    left: int = 0
    busy: int = 0
    held: int = 0
    finished: int = 0
    longest_s: float = 0.0
    killed: int = 0
    frozen: int = 0
    takeover_s: list[float] = field(default_factory=list)

    def add(self, other: "Scalings") -> None:
        """Add those of another round."""
        self.came += other.came
        self.left += other.left
        self.busy += other.busy
        self.held += other.held
        self.finished += other.finished
        self.longest_s = max(self.longest_s, other.longest_s)
        self.killed += other.killed
        self.frozen += other.frozen
        self.takeover_s += other.takeover_s


def count_scalings(history: History) -> Scalings:
    """Count them."""
    found = Scalings(left=len(history.leaving))
    busy = set()
    for hold in history.holds():
        asked_at = history.leaving.get(hold.delivery.who)
        if asked_at is None or not hold.delivery.at <= asked_at < hold.until:
            continue
        busy.add(hold.delivery.who)
        found.held += 1
        if hold.end is not None and hold.end.what is What.COMPLETED:
            found.finished += 1
            found.longest_s = max(found.longest_s, hold.until - asked_at)
    found.busy = len(busy)
    decided = [event for event in history.events if event.what is What.DECIDES]
    autoscalers = {event.who for event in decided}
    for event in history.events:
        if event.what is What.CAME:
            found.came += 1
        elif event.what in {What.KILLED, What.FROZEN} and event.code in autoscalers:
            found.killed += event.what is What.KILLED
            found.frozen += event.what is What.FROZEN
            later = [one.at for one in decided if one.at > event.at and one.who != event.code]
            found.takeover_s += [later[0] - event.at] if later else []
    return found
