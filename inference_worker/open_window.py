"""The window that the queue service knows: the most deliveries that it lets the worker hold."""

import logging

from client_sdk.work import WorkConnection
from inference_worker.metrics import Metrics

log = logging.getLogger(__name__)


class OpenWindow:
    """The window of one connection; 0 before there is one."""

    def __init__(self, metrics: Metrics) -> None:
        self.size = 0
        self._metrics = metrics
        self._connection: WorkConnection | None = None

    def open(self, connection: WorkConnection, size: int) -> None:
        """Begin with a new connection, whose window has this size."""
        self._connection, self.size = connection, size
        self._metrics.window.set(size)

    def set(self, size: int) -> None:
        """Change it; does nothing if it has this size, or before there is a connection."""
        if self._connection is None or size == self.size:
            return
        self.size = size
        self._metrics.window.set(size)
        self._connection.set_window(size)
        log.info("The window is %d now.", size)
