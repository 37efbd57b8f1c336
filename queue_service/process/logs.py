"""Log lines: text for people, JSON for collectors."""

import json
import logging
from datetime import UTC, datetime

from aiohttp.http_exceptions import HttpProcessingError

from client_sdk.log_lines import PlainFormatter


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


class _StrangersInOneLine(logging.Filter):
    """What is no HTTP gets one line and no traceback, or a stranger could fill the disk."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            record.msg, record.args = "A request could not be read: %s", (type(error).__name__,)
            record.exc_info = record.exc_text = None
            record.levelno, record.levelname = logging.INFO, "INFO"
        return True


def set_up_logging(level: str, *, as_json: bool) -> None:
    """Write log lines of this level and above to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(
        _JsonFormatter()
        if as_json
        else PlainFormatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s")
    )
    logging.getLogger("aiohttp.server").addFilter(_StrangersInOneLine())
    logging.basicConfig(level=level, handlers=[handler], force=True)
