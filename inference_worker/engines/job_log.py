"""The log of one attempt: what its handler prints and logs, limited and in portions.

Which job a line belongs to is a context variable: it follows a coroutine and its tasks, and
`asyncio.to_thread`, but not a thread that the handler starts itself.

The first lines are sent while the job runs.  Once they have used up their part of the limits, only
the newest lines are kept, and sent at the end with a note of what was left out between.
"""

import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from client_sdk.wire.job_log import (
    LOGGED,
    MOST_CHARACTERS,
    MOST_LEVEL_CHARACTERS,
    STDERR,
    STDOUT,
    WORKER,
    LogLine,
    as_text,
)
from inference_worker.engines.engine import Event, Logged
from inference_worker.engines.tracebacks import from_users_code

#: The most lines of one attempt; the most bytes are the service's.
MOST_LINES = 5_000
#: The part of both that is sent while the job runs; the rest is for the last lines.
FIRST_PART = 3 / 4
#: What a line costs beside its text, in bytes.
LINE_BYTES = 48
#: After some lines were sent, the next ones are collected for this time, in seconds.
GATHER_S = 0.05

_FULL = "The log is full: only the last lines follow, when the attempt ends."

#: The log that printed and logged lines go to; None outside of a job.
_current: ContextVar["JobLog | None"] = ContextVar("penstock_job_log", default=None)


def current_log() -> "JobLog | None":
    """Return the log of the job that this code runs for, if there is one."""
    return _current.get()


@contextmanager
def attributed_to(log: "JobLog | None") -> Iterator[None]:
    """Send what is printed and logged inside the block to this log."""
    token = _current.set(log)
    try:
        yield
    finally:
        _current.reset(token)


class JobLog:
    """The log of one attempt; usable from any thread.

    most_bytes: 0 keeps nothing.  send: takes events, from any thread.  soon: has the loop of the
    engine call a function, after a number of seconds; from any thread.
    """

    def __init__(
        self,
        most_bytes: int,
        send: Callable[[Event], None],
        soon: Callable[[float, Callable[[], None]], None],
    ) -> None:
        self._send = send
        self._soon = soon
        # Writes inside of a write, such as of a signal handler, come from the same thread.
        self._lock = threading.RLock()
        self._is_open = most_bytes > 0
        self._first_bytes = int(most_bytes * FIRST_PART)
        self._first_lines = int(MOST_LINES * FIRST_PART)
        self._last_bytes = most_bytes - self._first_bytes
        self._last_lines = MOST_LINES - self._first_lines
        self._is_full = False
        self._unsent: list[LogLine] = []
        self._is_due = False
        self._last: deque[LogLine] = deque()
        self._left_out_lines = self._left_out_bytes = 0
        self._begun = {STDOUT: "", STDERR: ""}

    def write(self, source: str, text: str) -> None:
        """Add printed text; a line counts once it has ended."""
        with self._lock:
            if not self._is_open:
                return
            *lines, begun = (self._begun[source] + text).split("\n")
            for line in lines:
                self._add(source, "", _overwritten(line))
            begun = _overwritten(begun)
            if len(begun) >= MOST_CHARACTERS:
                self._add(source, "", begun)
                begun = ""
            self._begun[source] = begun

    def record(self, level: str, text: str) -> None:
        """Add what was logged."""
        with self._lock:
            if self._is_open:
                for line in text.split("\n"):
                    self._add(LOGGED, level[:MOST_LEVEL_CHARACTERS], line)

    def raised(self, error: BaseException) -> None:
        """Add the traceback of an exception that ends the attempt."""
        with self._lock:
            if self._is_open:
                for line in _traceback_of(error).rstrip("\n").split("\n"):
                    self._add(STDERR, "", line)

    def close(self) -> None:
        """Send all that is left; what comes afterwards is not kept."""
        with self._lock:
            if not self._is_open:
                return
            for source, begun in self._begun.items():
                if begun:
                    self._add(source, "", begun)
            self._is_open = False
            if self._left_out_lines:
                note = f"{self._left_out_lines} lines ({self._left_out_bytes} bytes) were left out."
                self._unsent.append(_line(WORKER, "WARNING", note))
            self._unsent += self._last
            lines, self._unsent = self._unsent, []
            self._last.clear()
        if lines:
            self._send(Logged(tuple(lines)))

    def _add(self, source: str, level: str, text: str) -> None:
        line = _line(source, level, text)
        if not self._is_full:
            self._first_lines -= 1
            self._first_bytes -= _size(line)
            if self._first_lines >= 0 and self._first_bytes >= 0:
                self._unsent.append(line)
                self._plan()
                return
            self._is_full = True
            self._unsent.append(_line(WORKER, "WARNING", _FULL))
            self._plan()
        self._last.append(line)
        self._last_lines -= 1
        self._last_bytes -= _size(line)
        while self._last and (self._last_lines < 0 or self._last_bytes < 0):
            oldest = self._last.popleft()
            self._last_lines += 1
            self._last_bytes += _size(oldest)
            self._left_out_lines += 1
            self._left_out_bytes += len(oldest.text.encode())

    def _plan(self) -> None:
        if not self._is_due:
            self._is_due = True
            self._soon(0.0, self._flush)

    def _flush(self) -> None:
        """Send what there is, and look again later: one line is sent at once, many are joined."""
        with self._lock:
            lines, self._unsent = self._unsent, []
            self._is_due = bool(lines)
        if lines:
            self._send(Logged(tuple(lines)))
            self._soon(GATHER_S, self._flush)


def _line(source: str, level: str, text: str) -> LogLine:
    return LogLine(int(time.time() * 1000), source, level, as_text(text))


def _size(line: LogLine) -> int:
    return LINE_BYTES + len(line.text.encode())


def _traceback_of(error: BaseException) -> str:
    shown = from_users_code(error.__traceback__)
    try:
        return "".join(traceback.format_exception(type(error), error, shown))
    except Exception as in_exception:
        # Code of the handler runs here, such as a `__str__` of its exception.
        return f"{type(error).__name__}, whose traceback raised {type(in_exception).__name__}"


def _overwritten(text: str) -> str:
    """Return what a terminal shows: a progress bar writes each state over the last one."""
    return text.rstrip("\r").rpartition("\r")[2]
