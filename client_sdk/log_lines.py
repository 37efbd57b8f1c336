"""The format of log records: one line per message; lines of a traceback are indented.

A message may quote text of a client.  Line ends and control characters are escaped here, once for
every log call, so that a client cannot forge a log line.
"""

import logging

from client_sdk.plain_text import harmless, one_line

_INDENT = "  "


class PlainFormatter(logging.Formatter):
    """Log lines for people; `form` is a format string of `logging`."""

    def __init__(self, form: str) -> None:
        super().__init__(form)

    def formatMessage(self, record: logging.LogRecord) -> str:
        return one_line(super().formatMessage(record))

    def formatException(self, ei: object) -> str:
        return _indented(super().formatException(ei))  # type: ignore[arg-type]

    def formatStack(self, stack_info: str) -> str:
        return _indented(super().formatStack(stack_info))


def _indented(text: str) -> str:
    # The text of an exception may also come from a client and have line ends.
    return "\n".join(_INDENT + harmless(line) for line in text.splitlines())
