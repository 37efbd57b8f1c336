"""The shape of RunPod: a function `handler(job)`, where `job["input"]` is the request.

The file moves over unchanged: `import runpod` finds what is below, and the
`runpod.serverless.start(...)` at its end only says which function is the handler.
"""

import inspect
import sys
import types
from collections.abc import Callable
from typing import Any

from inference_worker.engines.engine import Failed, Finished, Job
from inference_worker.engines.locate import find, import_module
from inference_worker.engines.payload import read_json, to_bytes
from inference_worker.engines.shape import Shape
from inference_worker.errors import BadEngine

#: The failure of a job whose handler returned an `error`, which RunPod does not retry either.
HANDLER_ERROR = "HandlerError"


def runpod_shape(target: str) -> Shape:
    """Return the shape of `module:function`, or of what `module` itself starts."""
    started: list[dict[str, Any]] = []
    _install(started.append)
    if ":" in target:
        handler = find(target)
    else:
        import_module(target)
        handler = started[-1].get("handler") if started else None
        if not callable(handler):
            raise BadEngine(f"a call of runpod.serverless.start in {target}", "none of a handler")
    return Shape(
        read=_read,
        predict=lambda job, context: handler(job),
        write=_write,
        is_async=inspect.iscoroutinefunction(handler) or inspect.isasyncgenfunction(handler),
    )


def _install(start: Callable[[dict[str, Any]], None]) -> None:
    runpod, serverless = types.ModuleType("runpod", __doc__), types.ModuleType("runpod.serverless")
    serverless.start = start  # type: ignore[attr-defined]
    serverless.progress_update = lambda job, progress: None  # type: ignore[attr-defined]
    runpod.serverless = serverless  # type: ignore[attr-defined]
    sys.modules["runpod"], sys.modules["runpod.serverless"] = runpod, serverless


def _read(job: Job) -> dict[str, Any]:
    body = read_json(job.data)
    # What is posted to RunPod wraps the input; what is put here need not.
    wrapped = body if isinstance(body, dict) and "input" in body else {"input": body}
    return {**wrapped, "id": job.request_id}


def _write(output: Any) -> Finished | Failed:
    if isinstance(output, dict):
        if output.get("error"):
            return Failed(HANDLER_ERROR, str(output["error"]), retryable=False)
        output = {name: value for name, value in output.items() if name != "refresh_worker"}
    return Finished(to_bytes(output))
