"""Processors of PAI EAS: a class with `initialize` and `process(data) -> (bytes, status)`.

The file needs no change: `import allspark` finds the base class below, and the `runner.run()` at
its end is under `if __name__ == "__main__"` and never runs.
"""

import os
import sys
import types
from http import HTTPStatus
from typing import Any

from inference_worker.engines.engine import Failed, Finished
from inference_worker.engines.locate import find
from inference_worker.engines.payload import to_bytes
from inference_worker.engines.shape import Shape
from inference_worker.errors import BadEngine

#: Statuses below 500 that are retried.
_WORTH_A_RETRY = {
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.TOO_EARLY,
    HTTPStatus.TOO_MANY_REQUESTS,
}


class BaseProcessor:
    """Replaces `allspark.BaseProcessor` as a base class."""

    def __init__(
        self, worker_threads: int = 5, worker_processes: int = 1, endpoint: str = ""
    ) -> None:
        # Accepted but not used: the worker's settings decide how many jobs run at once.
        self.worker_threads = worker_threads
        self.worker_processes = worker_processes
        self.endpoint = endpoint

    def initialize(self) -> None:
        """Load the model; called once, before the first job."""

    def pre_process(self, data: Any) -> Any:
        """Read the input; called only by the class itself."""
        return data

    def process(self, data: bytes) -> Any:
        """Process one job."""
        raise NotImplementedError("a processor needs a method process")

    def post_process(self, data: Any) -> Any:
        """Write the output; called only by the class itself."""
        return data

    def get_model_path(self) -> bytes:
        """Return the folder of the model: the variable MODEL_PATH, or the current folder."""
        return os.environ.get("MODEL_PATH", "./").encode()

    def run(self) -> None:
        """Do nothing: the engine calls `process`."""


def allspark_shape(target: str) -> Shape:
    """Return the shape of a processor class `module:Class`; creates the instance."""
    module = types.ModuleType("allspark", __doc__)
    module.BaseProcessor = BaseProcessor  # type: ignore[attr-defined]
    sys.modules["allspark"] = module
    processor = find(target)()
    process = getattr(processor, "process", None)
    if not callable(process):
        raise BadEngine(f"a method process in {target}", "a class without one")
    initialize = getattr(processor, "initialize", None)
    return Shape(
        read=lambda job: job.data,
        predict=lambda data, context: process(data),
        write=_write,
        # No concurrency limit: PAI EAS calls processors from five threads, so they support it.
        setup=None if initialize is None else lambda context: initialize(),
    )


def _write(output: Any) -> Finished | Failed:
    body, status = output if isinstance(output, tuple) else (output, HTTPStatus.OK)
    data = to_bytes(body)
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return Finished(data)
    retryable = status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _WORTH_A_RETRY
    return Failed(str(int(status)), data.decode(errors="replace"), retryable=retryable)
