"""The shape of RunPod: a function `handler(job)`, where `job["input"]` is the request.

The file moves over unchanged: `import runpod` finds the stand-ins of runpod_sdk.py, and the
`runpod.serverless.start(...)` at its end only says which function is the handler.

A returned or yielded `{"error": ...}` fails the job.  As with RunPod, one job runs at a time
unless a `concurrency_modifier` says more.
"""

from collections.abc import Callable
from typing import Any

from inference_worker.engines import runpod_sdk
from inference_worker.engines.engine import Context, Failed, Finished, Job
from inference_worker.engines.locate import find, import_module, is_async
from inference_worker.engines.payload import read_json, to_bytes
from inference_worker.engines.shape import Shape
from inference_worker.errors import BadEngine

#: The failure of a job whose handler returned an `error`, which RunPod does not retry either.
HANDLER_ERROR = "HandlerError"

#: RunPod asks a modifier again and again; here it is asked as often as it says more, at most so
#: often.
MOST_QUESTIONS = 100


def runpod_shape(target: str) -> Shape:
    """Return the shape of `module:function`, or of what `module` itself starts."""
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
        concurrency=_concurrency(started.config.get("concurrency_modifier")),
    )


def _handler(target: str, started: runpod_sdk.Started) -> Callable[[dict[str, Any]], Any]:
    if ":" in target:
        found: Callable[[dict[str, Any]], Any] = find(target)
        return found
    module = import_module(target)
    # The call of start may stand behind `if __name__ == "__main__"`.
    handler = started.config.get("handler") or getattr(module, "handler", None)
    if not callable(handler):
        raise BadEngine(f"a call of runpod.serverless.start in {target}", "none of a handler")
    named: Callable[[dict[str, Any]], Any] = handler
    return named


def _concurrency(modifier: Callable[[int], int] | None) -> int:
    now = 1
    for _ in range(MOST_QUESTIONS if modifier else 0):
        wanted = int(modifier(now)) if modifier else now
        if wanted <= now:
            break
        now = wanted
    return now


def _read(job: Job) -> dict[str, Any]:
    body = read_json(job.data)
    # What is posted to RunPod wraps the input; what is put here need not.
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
