"""What a run showed, as tables."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.faults.actions import Injury
from tests.faults.cells import EMPTY, Cell, Fault, Load, Victim, cells
from tests.faults.event import Event
from tests.faults.file_look import FilesSeen
from tests.faults.history import History, Violation
from tests.faults.recovery import Timeline, percentile
from tests.faults.retries import Retries
from tests.faults.round import Outcome
from tests.faults.scalings import Scalings

#: The faults in which a worker is dead or silent while it holds something.
SILENCES = {Fault.KILL, Fault.STOP, Fault.HALF_OPEN, Fault.VANISH}
#: The rules that have a column of their own.
NAMED = ("lost", "duplicated", "window", "foreign", "charged")
#: The types of failure that the teams' jobs have of themselves.
EXPECTED = {"transient", "transient, with a time", "oom", "timeout", "internal", "bad_input"}
#: The parts that everything goes through.
SHARED = {Victim.REDIS, Victim.SERVICES}


@dataclass(slots=True)
class Figures:
    """What is counted over a run, by load or by cell."""

    faults: Counter[str] = field(default_factory=Counter)
    accepted: int = 0
    unknown: int = 0
    lost: int = 0
    duplicated: int = 0
    window: int = 0
    foreign: int = 0
    charged: int = 0
    other: int = 0
    dead_holder_s: list[float] = field(default_factory=list)
    recovery_s: list[float] = field(default_factory=list)


class Report:
    """Adds up rounds and renders them.

    has_clock: whether Redis' clock could be moved.
    """

    def __init__(self, *, has_clock: bool) -> None:
        self._has_clock = has_clock
        self.loads: defaultdict[str, Figures] = defaultdict(Figures)
        self.cells: defaultdict[Cell, Figures] = defaultdict(Figures)
        self.violations: list[Violation] = []
        self.retries = Retries()
        self.scalings = Scalings()
        self.files = FilesSeen()

    def add(self, outcome: Outcome) -> None:
        """Add a round; its events are not kept."""
        figures = self.loads[outcome.plan.load]
        verdict = outcome.verdict
        figures.accepted += verdict.accepted
        figures.unknown += verdict.unknown
        for name in NAMED:
            count = verdict.count(name)
            setattr(figures, name, getattr(figures, name) + count)
            figures.other -= count
        figures.other += len(outcome.violations)
        self.violations += outcome.violations
        self.retries.add(verdict.retries)
        self.scalings.add(verdict.scalings)
        self.files.add(outcome.files)
        self._measure(outcome.events, outcome.injuries)

    def _measure(self, events: list[Event], injuries: Iterable[Injury]) -> None:
        timeline = Timeline(History(events))
        for injury in injuries:
            of_cell, of_load = self.cells[injury.cell], self.loads[injury.load]
            of_cell.faults[injury.load] += 1
            of_load.faults[str(injury.cell)] += 1
            if injury.load == Load.SINK_FULL:
                # Nothing is delivered while the sink is full, so there is no time to measure.
                continue
            if injury.cell.victim is Victim.WORKER and injury.cell.fault in SILENCES:
                for who in injury.victims:
                    sat = [one.after_s for one in timeline.redelivered(who, injury.hurt_at)]
                    of_cell.dead_holder_s += sat
                    of_load.dead_holder_s += sat
            elif injury.cell.victim in SHARED:
                after_s = timeline.first_delivery_after(injury.healed_at)
                if after_s is not None:
                    of_cell.recovery_s.append(after_s)
                    of_load.recovery_s.append(after_s)

    @property
    def faults(self) -> int:
        return sum(figures.faults.total() for figures in self.loads.values())

    @property
    def accepted(self) -> int:
        return sum(figures.accepted for figures in self.loads.values())

    def last_line(self) -> str:
        """Return the sentence that a run ends with."""
        lost, duplicated, window, foreign, charged = (
            sum(getattr(figures, name) for figures in self.loads.values()) for name in NAMED
        )
        others = Counter(one.rule for one in self.violations if one.rule not in NAMED)
        last = (
            f"lost {lost}, duplicated {duplicated}, window exceeded {window}, foreign {foreign}, "
            f"charged to scaling {charged}"
        )
        return ", ".join((last, *(f"{rule} {count}" for rule, count in sorted(others.items()))))

    def by_load(self) -> list[str]:
        """Render what happened to the jobs."""
        rows = [
            "| load | faults | jobs accepted | answer to the put lost | lost | duplicated | "
            "window exceeded | another team's | charged to scaling | other rules broken |",
            "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
        ]
        for load in Load:
            if (figures := self.loads.get(load)) is None:
                continue
            cells_ = (
                load,
                figures.faults.total(),
                f"{figures.accepted:,}",
                figures.unknown,
                figures.lost,
                figures.duplicated,
                figures.window,
                figures.foreign,
                figures.charged,
                figures.other,
            )
            rows.append("| " + " | ".join(map(str, cells_)) + " |")
        return rows

    def by_cell(self) -> list[str]:
        """Render how often each cell was, and how long things took."""
        rows = [
            "| victim | fault | idle | steady | backlog | sink full | "
            "longest with a dead holder | first delivery after it was healed |",
            "|---|---|---:|---:|---:|---:|---:|---:|",
        ]
        for cell in cells():
            figures = self.cells.get(cell, Figures())
            counts = [str(figures.faults[load] or "-") for load in Load]
            dead, recovery = _longest(figures.dead_holder_s), _longest(figures.recovery_s)
            columns = [cell.victim, cell.fault, *counts, dead, recovery]
            rows.append("| " + " | ".join(columns) + " |")
        return rows

    def notes(self) -> list[str]:
        """Render why some cells are empty."""
        always = [f"* {which[0].upper()}{which[1:]}: {why}." for which, why in EMPTY.items()]
        drawn = {cell for cell, figures in self.cells.items() if figures.faults.total()}
        wanting = [cell for cell in cells() if cell not in drawn]
        if not self._has_clock:
            always.append("* The clock was not moved: no C compiler was there to build what does.")
            wanting = [cell for cell in wanting if cell.fault is not Fault.CLOCK]
        if wanting:
            why = "a rule was broken" if self.violations else "the run was too short for all"
            names = "; ".join(map(str, wanting))
            always.append(
                f"* {len(wanting)} of {len(cells())} cells were not drawn, because {why}: {names}."
            )
        return always

    def by_team(self) -> list[str]:
        """Render what became of the teams' jobs, which fail on purpose."""
        found = self.retries
        if not found.jobs:
            return ["No team put a job."]
        ends = ", ".join(f"{count:,} {how}" for how, count in sorted(found.results.items()))
        failures = ", ".join(f"{kind} {count:,}" for kind, count in sorted(found.failures.items()))
        missing = sorted(EXPECTED - set(found.failures))
        lines = [
            f"Of these jobs {found.jobs:,} were put by two teams over the jobs API, each with a "
            f"retry policy of its own: {ends}. {found.shared:,} ids were used by both teams.",
            "",
            f"* Attempts that failed, by type: {failures or 'none'}.",
            f"* Pauses that the service accepted, none to be cut short: {found.pauses:,}.",
            f"* Tokens revoked while they were in use: {found.revoked:,}; puts that were refused "
            f"because theirs was: {found.refused:,}.",
        ]
        if missing:
            lines.append(f"* Not seen, in so few jobs: {', '.join(missing)}.")
        return lines

    def by_file(self) -> list[str]:
        """Render what was seen of files."""
        seen = self.files
        lines = [
            f"Of the teams' payloads, results and artifacts, {seen.files:,} were files, of "
            f"{seen.size_bytes / 1e6:,.0f} MB; each was read as soon as it was complete."
        ]
        if seen.met or seen.missed:
            lines[0] += (
                f" {seen.met} faults found a file on its way where they were to, {seen.missed} "
                "found none."
            )
        return lines

    def by_scaling(self) -> list[str]:
        """Render how workers came and went."""
        found = self.scalings
        if not found.came and not found.left:
            return ["The number of workers did not change."]
        lines = [
            f"Autoscalers started {found.came} workers and asked {found.left} to leave. Of these "
            f"{found.busy} were busy: they finished {found.finished} of the {found.held} jobs that "
            f"they held, the last one {found.longest_s:.1f} s after its worker was asked."
        ]
        if found.held > found.finished:
            lines[0] += f" Other faults ended {found.held - found.finished} of them there."
        if found.takeover_s:
            lines[0] += (
                f" {found.killed} autoscalers were killed and {found.frozen} frozen; another one "
                "decided after "
                f"{percentile(found.takeover_s, 0.5):.1f} s (at most {max(found.takeover_s):.1f})."
            )
        return lines


def _longest(values: list[float]) -> str:
    if not values:
        return "-"
    return f"{max(values):.2f} s (median {percentile(values, 0.5):.2f})"
