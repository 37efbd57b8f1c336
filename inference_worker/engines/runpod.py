"""RunPod handlers: a function `handler(job)`, where `job["input"]` is the request.

The file needs no change: `import runpod` finds the replacements in runpod_sdk.py, and the
`runpod.serverless.start(...)` at its end only registers the handler.

A returned or yielded `{"error": ...}` fails the job.  As with RunPod, one job runs at a time unless
a `concurrency_modifier` returns more.
"""

from collections.abc import Callable
from typing import Any

from inference_worker.engines import runpod_sdk
from inference_worker.engines.engine import Context, Failed, Finished, Job
from inference_worker.engines.locate import find, import_module, is_async
from inference_worker.engines.payload import read_json, to_bytes
from inference_worker.engines.runpod_schema import described_inputs
from inference_worker.engines.shape import Shape
from inference_worker.errors import BadEngine

#: The failure of a job whose handler returned an `error`; RunPod does not retry it either.
HANDLER_ERROR = "HandlerError"

#: RunPod calls a modifier repeatedly.  Here it is called as long as it returns more, at most this
#: often.
MAX_MODIFIER_CALLS = 100


def runpod_shape(target: str) -> Shape:
    """Return the shape of `module:function`, or of the handler that `module` starts."""
    started = runpod_sdk.install()
    handler = _handler(target, started)

    def predict(job: dict[str, Any], context: Context) -> Any:
        runpod_sdk.enter_job(job, context)
        return handler(job)

    always = bool(started.config.get("refresh_worker"))
    return Shape(
        read=_read,
        predict=predict,
        write=_write,
        piece=lambda piece: _error_in(piece) or piece,
        forget=runpod_sdk.leave_job,
        refreshes=lambda output: always or _asks_for_refresh(output),
        is_async=is_async(handler),
        setup=(lambda context: started.check()) if started.checks else None,
        inputs=described_inputs(handler),
        concurrency=_concurrency(started.config.get("concurrency_modifier")),
    )


def _handler(target: str, started: runpod_sdk.Started) -> Callable[[dict[str, Any]], Any]:
    if ":" in target:
        found: Callable[[dict[str, Any]], Any] = find(target)
        return found
    module = import_module(target)
    # The call of start may be under `if __name__ == "__main__"`, which does not run here.
    handler = started.config.get("handler") or getattr(module, "handler", None)
    if not callable(handler):
        raise BadEngine(f"a call of runpod.serverless.start in {target}", "none of a handler")
    named: Callable[[dict[str, Any]], Any] = handler
    return named


def _concurrency(modifier: Callable[[int], int] | None) -> int:
    now = 1
    for _ in range(MAX_MODIFIER_CALLS if modifier else 0):
        wanted = int(modifier(now)) if modifier else now
        if wanted <= now:
            break
        now = wanted
    return now


def _read(job: Job) -> dict[str, Any]:
    body = read_json(job.data)
    # RunPod requires `{"input": ...}`; here the wrapper is optional.
    wrapped = body if isinstance(body, dict) and "input" in body else {"input": body}
    return {**wrapped, "id": job.request_id}


def _error_in(output: Any) -> Failed | None:
    if isinstance(output, dict) and output.get("error"):
        return Failed(HANDLER_ERROR, str(output["error"]), retryable=False)
    return None


def _asks_for_refresh(output: Any) -> bool:
    return isinstance(output, dict) and bool(output.get("refresh_worker"))


def _write(output: Any) -> Finished | Failed:
    if failed := _error_in(output):
        return failed
    if isinstance(output, dict):
        ours = ("refresh_worker", "error")
        output = {name: value for name, value in output.items() if name not in ours}
    return Finished(to_bytes(output))
