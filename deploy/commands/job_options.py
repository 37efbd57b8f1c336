"""The options that every command which puts jobs has, and how it shows a result in JSON."""

import base64
import json
from typing import Annotated, Any

import typer

from client_sdk.errors import NoResult, QueueError
from client_sdk.wire.duration import parse_duration
from client_sdk.wire.errors import WireError

Tags = Annotated[list[str] | None, typer.Option("--tag", help="A tag, as key=value; repeatable.")]
Priority = Annotated[int, typer.Option(min=0, help="1 goes before all normal jobs.")]
Path = Annotated[str, typer.Option("--path", help="For an engine that is an HTTP server.")]
ContentType = Annotated[str, typer.Option(help="What the input is, for such an engine.")]
NotBefore = Annotated[str, typer.Option(help="Begin then: a time, or from now, such as 90s.")]
StartBy = Annotated[str, typer.Option(help="Expires when it has not begun by then.")]
FinishBy = Annotated[str, typer.Option(help="Expires when it is not done by then.")]
RunTimeout = Annotated[str, typer.Option(help="The longest that one attempt may run, such as 90s.")]
MaxAttempts = Annotated[
    int | None, typer.Option(min=1, help="Attempts in all; 1 never tries again.")
]
RetryPause = Annotated[
    str, typer.Option(help="From a failure to the next attempt, such as 5s; then longer each time.")
]
Seconds = Annotated[
    float | None, typer.Option(min=0, help="Seconds to wait; by default as long as it takes.")
]


def retry_of(max_attempts: int | None, retry_pause: str) -> dict[str, float] | None:
    """Return how a job is tried again, as far as the options say so; raises BadParameter."""
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
    """Return a result for a JSON document: `output`, or `output_base64` when it is no text.

    An object or an array is itself.  Everything else is text, so that the answer "42" of a
    language model is not a number between texts.
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
    """Return why a job gave no result: its `state`, and an `error` with a code, a message
    and, of a job that failed, a type.

    A job that was never put is `refused`; one whose result is no longer there is `gone`.
    """
    state = error.fields.get("state") or ("gone" if error.status in (404, 410) else "refused")
    code = error.fields.get("reason") or error.code
    told = {"code": str(code), "message": error.sentence}
    if isinstance(error, NoResult) and error.type is not None:
        told = {"type": str(error.type), **told}
    return {"state": str(state), "error": told}


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")
