"""How a log record becomes text: one line for its message, and an indented one for each of a trace.

A message may quote what a client sent, so its line ends and control characters are escaped here,
once for every log call.  No text of a client can begin a line.
"""

import logging

from client_sdk.plain_text import harmless, one_line

_INDENT = "  "


class PlainFormatter(logging.Formatter):
    """Text for people; `form` is that of `logging`."""

    def __init__(self, form: str) -> None:
        super().__init__(form)

    def formatMessage(self, record: logging.LogRecord) -> str:
        return one_line(super().formatMessage(record))

    def formatException(self, ei: object) -> str:
        return _indented(super().formatException(ei))  # type: ignore[arg-type]

    def formatStack(self, stack_info: str) -> str:
        return _indented(super().formatStack(stack_info))


def _indented(text: str) -> str:
    # An exception's text may have been a client's too, and may have line ends.
    return "\n".join(_INDENT + harmless(line) for line in text.splitlines())
