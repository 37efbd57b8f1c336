"""Copies what a handler prints and logs to the log of its job.

Only in the process of an engine.  The output itself goes where it went before.  What programs and C
libraries write to the file descriptors is in the worker's output alone.
"""

import io
import logging
import sys
import traceback
from contextlib import suppress
from typing import Any

from client_sdk.wire.job_log import STDERR, STDOUT
from inference_worker.engines.job_log import JobLog, attributed_to, current_log

#: The logger of handlers, `ctx.log`.
HANDLER_LOGGER = "inference_worker.handler"
#: Our own messages are about the worker.
_OURS = "inference_worker."


class _JobStream(io.TextIOWrapper):
    """A standard stream whose text also goes to the log of the job that writes it."""

    def __init__(self, stream: io.TextIOWrapper, source: str) -> None:
        super().__init__(
            stream.buffer,
            encoding=stream.encoding,
            errors=stream.errors,
            line_buffering=stream.line_buffering,
            write_through=stream.write_through,
        )
        # It closes the buffer when it is collected.
        self._stream = stream
        self._source = source

    def write(self, text: str) -> int:
        if (log := current_log()) is not None and isinstance(text, str):
            log.write(self._source, text)
        return super().write(text)


class _JobHandler(logging.Handler):
    """Adds records to the log of the job that logs them."""

    def emit(self, record: logging.LogRecord) -> None:
        log = current_log()
        if log is None or (record.name.startswith(_OURS) and record.name != HANDLER_LOGGER):
            return
        try:
            log.record(record.levelname, _text_of(record))
        except Exception:
            self.handleError(record)


def _text_of(record: logging.LogRecord) -> str:
    # Not with a formatter: a record keeps the traceback that the first one has formatted.
    text = record.getMessage()
    if record.exc_info:
        text += "\n" + "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
    if record.stack_info:
        text += "\n" + record.stack_info
    return text


class JobLogger(logging.Logger):
    """`ctx.log` of one job: its records belong to that job on every thread."""

    def __init__(self, log: JobLog) -> None:
        super().__init__(HANDLER_LOGGER)
        self.parent = logging.getLogger(HANDLER_LOGGER)
        self._job_log = log

    def handle(self, record: logging.LogRecord) -> None:
        with attributed_to(self._job_log):
            super().handle(record)

    def __reduce__(self) -> tuple[Any, ...]:
        # A process that the handler starts gets the logger without the job.
        return logging.getLogger, (HANDLER_LOGGER,)


def capture_output() -> None:
    """Begin to copy; call it when the logging of this process is set up."""
    logging.getLogger().addHandler(_JobHandler())
    for name, source in (("stdout", STDOUT), ("stderr", STDERR)):
        stream = getattr(sys, name)
        if isinstance(stream, io.TextIOWrapper) and not isinstance(stream, _JobStream):
            with suppress(OSError, ValueError):
                stream.flush()
            setattr(sys, name, _JobStream(stream, source))
