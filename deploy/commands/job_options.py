"""The options of all commands that submit jobs, and the JSON form of a result."""

import base64
import json
from typing import Annotated, Any

import typer

from client_sdk.errors import NoResult, QueueError
from client_sdk.wire.duration import parse_duration
from client_sdk.wire.errors import WireError

Tags = Annotated[list[str] | None, typer.Option("--tag", help="A tag, as key=value; repeatable.")]
Priority = Annotated[int, typer.Option(min=0, help="Above 0, the job starts before normal jobs.")]
Path = Annotated[
    str, typer.Option("--path", help="The sub-path to call, if the engine is an HTTP server.")
]
ContentType = Annotated[str, typer.Option(help="The media type of the input, for such an engine.")]
NotBefore = Annotated[
    str, typer.Option(help="Start no earlier: a time, or a duration such as 90s.")
]
StartBy = Annotated[str, typer.Option(help="Expire the job unless it starts by then.")]
FinishBy = Annotated[str, typer.Option(help="Expire the job unless it is done by then.")]
RunTimeout = Annotated[str, typer.Option(help="Longest run of one attempt, such as 90s.")]
MaxAttempts = Annotated[
    int | None, typer.Option(min=1, help="Attempts in total; 1 means no retry.")
]
RetryPause = Annotated[
    str, typer.Option(help="Pause before the first retry, such as 5s; later pauses are longer.")
]
Seconds = Annotated[
    float | None, typer.Option(min=0, help="Seconds to wait; by default, until the job ends.")
]


def retry_of(max_attempts: int | None, retry_pause: str) -> dict[str, float] | None:
    """Return the retry policy that the options ask for, or None; raises BadParameter."""
    wanted: dict[str, float] = {}
    if max_attempts is not None:
        wanted["max_attempts"] = max_attempts
    if retry_pause:
        try:
            wanted["first_pause_s"] = parse_duration(retry_pause)
        except WireError as error:
            raise typer.BadParameter(str(error), param_hint="--retry-pause") from None
    return wanted or None


def output_fields(data: bytes) -> dict[str, Any]:
    """Return a result for a JSON document: `output`, or `output_base64` if it is not text.

    Objects and arrays stay JSON.  Everything else is text, so that the answer "42" of a language
    model does not become a number among texts.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return {"output_base64": base64.b64encode(data).decode("ascii")}
    if text.lstrip()[:1] in ("{", "["):
        try:
            return {"output": json.loads(text, parse_constant=_no_number)}
        except (ValueError, RecursionError):
            pass
    return {"output": text}


def error_fields(error: QueueError) -> dict[str, Any]:
    """Return why a job has no result: its `state`, and an `error` with a code and a message.

    The error of a failed job has a type too.  A job that was never accepted is `refused`; one
    whose result no longer exists is `gone`.
    """
    state = error.fields.get("state") or ("gone" if error.status in (404, 410) else "refused")
    code = error.fields.get("reason") or error.code
    problem = {"code": str(code), "message": error.sentence}
    if isinstance(error, NoResult) and error.type is not None:
        problem = {"type": str(error.type), **problem}
    return {"state": str(state), "error": problem}


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is not a number in JSON")
