"""The shape of PAI EAS: a class with `initialize` and `process(data) -> (bytes, status)`.

The file moves over unchanged: `import allspark` finds the base class below, and the `runner.run()`
at its end is behind `if __name__ == "__main__"` and never reached.
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

#: Statuses below 500 that another attempt may cure.
_WORTH_A_RETRY = {
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.TOO_EARLY,
    HTTPStatus.TOO_MANY_REQUESTS,
}


class BaseProcessor:
    """What `allspark.BaseProcessor` is to a class that derives from it."""

    def __init__(
        self, worker_threads: int = 5, worker_processes: int = 1, endpoint: str = ""
    ) -> None:
        # The worker's settings say how many jobs run at once; these are accepted and left alone.
        self.worker_threads = worker_threads
        self.worker_processes = worker_processes
        self.endpoint = endpoint

    def initialize(self) -> None:
        """Load the model; once, before the first job."""

    def pre_process(self, data: Any) -> Any:
        """Read the input; for the class's own use."""
        return data

    def process(self, data: bytes) -> Any:
        """Answer one job."""
        raise NotImplementedError("a processor needs a method process")

    def post_process(self, data: Any) -> Any:
        """Write the output; for the class's own use."""
        return data

    def get_model_path(self) -> bytes:
        """Return where the model lies: the environment's MODEL_PATH, or this folder."""
        return os.environ.get("MODEL_PATH", "./").encode()

    def run(self) -> None:
        """Do nothing: the engine is what runs it."""


def allspark_shape(target: str) -> Shape:
    """Return the shape of a processor class `module:Class`, with the instance made."""
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
        # PAI EAS calls a processor from five threads, and processors are written for that.
        setup=None if initialize is None else lambda context: initialize(),
    )


def _write(output: Any) -> Finished | Failed:
    body, status = output if isinstance(output, tuple) else (output, HTTPStatus.OK)
    data = to_bytes(body)
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return Finished(data)
    retryable = status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _WORTH_A_RETRY
    return Failed(str(int(status)), data.decode(errors="replace"), retryable=retryable)
