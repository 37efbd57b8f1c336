"""The progress of many jobs, on standard error: a bar on a terminal, else a line now and then."""

import os
import time
from contextlib import suppress
from types import TracebackType
from typing import NoReturn, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from client_sdk.errors import QueueError
from client_sdk.plain_text import harmless

#: Seconds between two lines where there is no terminal, and between two about the same trouble.
LINE_EVERY_S = 10.0


class ManyProgress:
    """Shows how many of them are done; a context manager, because the bar must be removed."""

    def __init__(
        self, total: int, *, done: int, failed: int, console: Console, again: str = "resume"
    ) -> None:
        """done, failed: before this run, `failed` among them.

        again: what the same command does after a second Ctrl-C.
        """
        self._again = again
        self._total, self._done, self._failed = total, done, failed
        self._console = console
        self._begun_at = self._told_at = time.monotonic()
        self._before = done
        self._trouble_at = float("-inf")
        self._progress = Progress(
            SpinnerColumn(),
            BarColumn(),
            TextColumn("{task.completed:,.0f} of {task.total:,.0f},"),
            TextColumn("{task.fields[failed]:,} failed"),
            _RateColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("", total=total, completed=done, failed=failed)

    def __enter__(self) -> Self:
        if self._before:
            self.say(f"{self._before:,} of {self._total:,} are already done")
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    @property
    def seconds(self) -> float:
        """Seconds since the start of this run."""
        return time.monotonic() - self._begun_at

    def tell(self, done: int, failed: int, *, total: int | None = None) -> None:
        """Show how many are done, how many of them failed, and of how many if that has changed."""
        self._done, self._failed = done, failed
        self._total = self._total if total is None else total
        self._progress.update(self._task, completed=done, failed=failed, total=self._total)
        now = time.monotonic()
        if not self._console.is_terminal and now - self._told_at >= LINE_EVERY_S:
            self._told_at = now
            self.say(f"{done:,} of {self._total:,} done, {failed:,} failed{self._rate()}")

    def wait(self, error: QueueError) -> None:
        """Report, now and then, that the run is waiting because of an error."""
        now = time.monotonic()
        if now - self._trouble_at >= LINE_EVERY_S:
            self._trouble_at = now
            self.say(f"waiting to try again: {error.sentence}")

    def say(self, sentence: str) -> None:
        """Say a sentence, above the bar where there is one."""
        self._console.print(harmless(sentence), soft_wrap=True)

    def leave(self, code: int) -> NoReturn:
        """End the program at once, and leave the terminal as it was."""
        self._console.show_cursor(True)
        with suppress(OSError):
            words = f"stopped at once; run the same command again to {self._again}\n"
            os.write(2, words.encode())
        os._exit(code)

    def end(self) -> str:
        """Summarize the run."""
        made = self._done - self._before
        return (
            f"{self._done - self._failed:,} succeeded and {self._failed:,} failed of "
            f"{self._total:,}; {made:,} of them now, in {self.seconds:.1f} s{self._rate()}"
        )

    def _rate(self) -> str:
        made = self._done - self._before
        return f" ({made / self.seconds:,.1f} a second)" if made and self.seconds > 0 else ""


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.1f}/s" if task.speed else "")
