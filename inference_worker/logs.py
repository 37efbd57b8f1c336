"""Log lines: one per event, on standard error, plain or JSON."""

import json
import logging
import sys
import time
from dataclasses import dataclass

from client_sdk.log_lines import PlainFormatter
from client_sdk.plain_text import safe_json
from inference_worker.finished_jobs import as_json, lines_of


@dataclass(frozen=True, slots=True)
class LogSettings:
    """How this worker and its engine's process log.

    level: DEBUG, INFO, WARNING or ERROR.  as_json: one JSON object per line.  name: identifies the
    worker in logs of several workers.
    """

    level: str = "INFO"
    as_json: bool = False
    name: str = "worker"

    def apply(self) -> None:
        """Set up the root logger of this process."""
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_Json(self.name) if self.as_json else _Plain(self.name))
        logging.basicConfig(level=self.level, handlers=[handler], force=True)


class _Plain(PlainFormatter):
    def __init__(self, name: str) -> None:
        super().__init__(f"%(asctime)s %(levelname)-7s {name.replace('%', '%%')}: %(message)s")
        self._name = name

    def format(self, record: logging.LogRecord) -> str:
        jobs = lines_of(record)
        if not jobs:
            return super().format(record)
        head = f"{self.formatTime(record)} {record.levelname:<7} {self._name}: "
        return "\n".join([f"{head}{job}" for job in jobs])


class _Json(logging.Formatter):
    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            + f".{int(record.msecs):03d}Z",
            "level": record.levelname,
            "worker": self._name,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if jobs := lines_of(record):
            return "\n".join(safe_json(as_json(line, job)) for job in jobs)
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return safe_json(json.dumps(line, ensure_ascii=False))
