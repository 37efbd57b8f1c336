"""Lines of a job's log, as a worker reports and a service stores them.

The data of an event of the kind "log" is JSON: {"lines": [[ms since 1970, source, level, text]]}.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from client_sdk.wire.errors import WireError

#: Where a line comes from: printed by a handler, logged with the standard `logging` or `ctx.log`,
#: or written by the worker about the attempt.
STDOUT, STDERR, LOGGED, WORKER = "stdout", "stderr", "log", "worker"
#: The service itself, about an attempt whose worker was lost; workers do not send it.
SERVICE = "service"
SOURCES = (STDOUT, STDERR, LOGGED, WORKER)

#: The longest text of one line, in characters; the middle of a longer one is left out.
MOST_CHARACTERS = 8192
#: The most bytes of the data of one event, which is below the service's limit of JSON.
MOST_EVENT_BYTES = 60_000
#: The most lines in one event.
MOST_EVENT_LINES = 2_000
#: Times of lines are before this, in ms since 1970: the year 10000, which no date shows.
END_OF_TIME_MS = 253_402_300_800_000
#: The longest name of a level, in characters.
MOST_LEVEL_CHARACTERS = 32


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line.  level: of a logged one, such as INFO, else ""."""

    at_ms: int
    source: str
    level: str
    text: str


def as_text(text: str) -> str:
    """Return a text that is short enough and valid in UTF-8."""
    if len(text) > MOST_CHARACTERS:
        half = MOST_CHARACTERS // 2 - 32
        left_out = len(text) - 2 * half
        text = f"{text[:half]} ... {left_out} characters left out ... {text[-half:]}"
    return text.encode("utf-8", "backslashreplace").decode()


def write_lines(lines: Iterable[LogLine]) -> Iterator[bytes]:
    """Yield the data of as many events as these lines need."""
    parts: list[bytes] = []
    size = 0
    for line in lines:
        fields = [line.at_ms, line.source, line.level, line.text]
        part = json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
        if parts and (size + len(part) > MOST_EVENT_BYTES or len(parts) >= MOST_EVENT_LINES):
            yield _event(parts)
            parts, size = [], 0
        parts.append(part)
        size += len(part) + 1
    if parts:
        yield _event(parts)


def read_lines(reported: Any) -> list[LogLine]:
    """Read the object in such an event; raises WireError."""
    items = reported.get("lines") if isinstance(reported, dict) else None
    if not isinstance(items, list) or not 0 < len(items) <= MOST_EVENT_LINES:
        raise WireError(f"1 to {MOST_EVENT_LINES} lines of a log", "something else")
    return [_line(item) for item in items]


def _event(parts: list[bytes]) -> bytes:
    return b'{"lines":[' + b",".join(parts) + b"]}"


def _line(item: Any) -> LogLine:
    match item:
        case [int(at_ms), str(source), str(level), str(text)] if (
            0 <= at_ms < END_OF_TIME_MS
            and source in SOURCES
            and len(level) <= MOST_LEVEL_CHARACTERS
            and len(text) <= MOST_CHARACTERS
            and _is_valid(text)
            and _is_valid(level)
        ):
            return LogLine(at_ms, source, level, text)
    raise WireError("lines of a log as [ms, source, level, text]", repr(item)[:64])


def _is_valid(text: str) -> bool:
    # A line has no end inside.  Half of a surrogate pair, which JSON can have, is not valid UTF-8.
    return not any("\ud800" <= one <= "\udfff" or one == "\n" for one in text)
