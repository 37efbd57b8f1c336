"""What the demo found: which questions were answered, how, and whether nothing was lost."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from client_sdk.plain_text import one_line
from client_sdk.wire import names
from client_sdk.wire.frame import Frame
from deploy.demo.faq import Pair


@dataclass(frozen=True, slots=True)
class Answered:
    """One result from the sink.

    wait_s: from the POST to the result, without `run_s`.  run_s: run time of the model in the last
    attempt.  attempt: the number of that attempt.
    """

    answer: str
    wait_s: float
    run_s: float
    attempt: int


@dataclass(slots=True)
class Report:
    """The questions in order, and the results by request id."""

    asked: list[tuple[str, Pair]] = field(default_factory=list)
    posted_at: dict[str, float] = field(default_factory=dict)
    results: dict[str, dict[int, Answered]] = field(default_factory=dict)

    def ask(self, request_id: str, pair: Pair, *, at: float) -> None:
        """Record that a question was accepted, and when."""
        self.asked.append((request_id, pair))
        self.posted_at[request_id] = at

    def read(self, frame: Frame, *, at: float) -> None:
        """Record a frame of the sink; an entry that arrives twice counts once."""
        request_id = frame.tags.get(names.REQUEST_ID_TAG, "")
        results = self.results.setdefault(request_id, {})
        results[frame.index] = _answered(frame, at - self.posted_at.get(request_id, at))

    @property
    def answered(self) -> int:
        """The number of questions with a result."""
        return sum(request_id in self.results for request_id, _ in self.asked)

    @property
    def lost(self) -> int:
        """The number of accepted questions without a result."""
        return len(self.asked) - self.answered

    @property
    def duplicated(self) -> int:
        """The number of results beyond one for each question."""
        known = {request_id for request_id, _ in self.asked}
        extra = sum(len(results) - 1 for results in self.results.values())
        return extra + sum(request_id not in known for request_id in self.results)

    @property
    def redelivered(self) -> int:
        """The number of questions that were delivered more than once."""
        return sum(row.attempt > 1 for _, row in self.rows() if row)

    def wrong(self) -> list[Pair]:
        """Return the questions whose answer differs from the FAQ."""
        return [pair for pair, row in self.rows() if row and row.answer != pair.answer]

    def rows(self) -> Sequence[tuple[Pair, Answered | None]]:
        """Return every question with its first result, or None."""
        firsts = [next(iter(self.results.get(rid, {}).values()), None) for rid, _ in self.asked]
        return [(pair, first) for (_, pair), first in zip(self.asked, firsts, strict=True)]

    def table(self) -> Table:
        """Return a table with one line per question, so that the result below stays visible."""
        table = Table(box=SIMPLE_HEAD, pad_edge=False, expand=True)
        table.add_column("question", ratio=2, no_wrap=True, overflow="ellipsis")
        table.add_column("answer", ratio=3, no_wrap=True, overflow="ellipsis")
        for column in ("wait", "run", "attempts"):
            table.add_column(column, justify="right", no_wrap=True)
        for pair, row in self.rows():
            if row is None:
                table.add_row(pair.question, "(none)", "", "", "")
                continue
            times = (f"{row.wait_s:.2f} s", f"{row.run_s:.2f} s")
            attempts = f"[bold]{row.attempt}[/]" if row.attempt > 1 else str(row.attempt)
            table.add_row(pair.question, Text(one_line(row.answer)), *times, attempts)
        return table

    def last_line(self) -> str:
        """Return the sentence that the demo ends with."""
        answered = f"{self.answered} of {len(self.asked)} answered"
        return f"{answered}, {self.lost} lost, {self.duplicated} duplicated"


def _answered(frame: Frame, since_post_s: float) -> Answered:
    """Read a result; shows an error as the answer."""
    text = frame.data.decode(errors="replace")
    try:
        result: Mapping[str, object] = json.loads(text)
        run_s, attempt = int(str(result["run_ms"])) / 1000, int(str(result["attempt"]))
        return Answered(str(result["answer"]), max(0.0, since_post_s - run_s), run_s, attempt)
    except (ValueError, KeyError, TypeError):
        return Answered(text, since_post_s, 0.0, 0)
