"""The jobs API as an OpenAPI 3.1 document.

What each operation needs comes from the table of routes; the rest is written by hand, and tests
compare it with the table and with real responses.
"""

from collections.abc import Iterable, Mapping
from importlib.metadata import version
from typing import Any

from client_sdk.wire import names
from queue_service.store.ticket import State
from queue_service.web.jobs.batch import NDJSON
from queue_service.web.jobs.events import EVENT_STREAM
from queue_service.web.jobs.schemas import (
    ARTIFACT,
    FAILED_ATTEMPT,
    JOB,
    LINE,
    LOG_LINE,
    OUTCOME,
    PROBLEM,
    RETRY_OPTIONS,
    WHOLE,
    Schema,
    an_object,
    or_null,
    ref,
    text,
)
from queue_service.web.routing import Requirement, Route

#: The methods that an item of the document may have.
METHODS = {"get", "put", "post", "delete"}


def parameter(name: str, about: str, schema: Schema | None = None, where: str = "query") -> Schema:
    """A parameter that may be left out."""
    schema = schema or {"type": "string"}
    return {"name": name, "in": where, "description": about, "schema": schema}


def in_path(name: str) -> Schema:
    """A part of the path."""
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def answer(about: str, kind: str = "", schema: Schema | None = None) -> Schema:
    """An answer, with a body of this kind or without one."""
    content = {"content": {kind: {"schema": schema or {}}}} if kind else {}
    return {"description": about, **content}


def with_headers(response: Schema, headers: dict[str, str]) -> Schema:
    """An answer with headers, each described."""
    described = {
        name: {"description": about, "schema": {"type": "string"}}
        for name, about in headers.items()
    }
    return {**response, "headers": described}


_A_JOB = ref("Job")
#: What `Retry-After` says, always in seconds.
_LOOK_AGAIN = {"Retry-After": "Seconds until the result may be there, by the estimate."}
_SEND_AGAIN = {"Retry-After": "Seconds until the same request may succeed."}
_TEXTS: Schema = {"type": "array", "items": {"type": "string"}}
_OPTIONS = [
    parameter("priority", "Jobs above 0 run first.", WHOLE),
    parameter("tag", "`name:value`; repeated.", _TEXTS),
    parameter("path", "The sub-path, for engines that are HTTP servers."),
    parameter("not_before", "A time (RFC 3339), or a duration from now (`90s`)."),
    parameter("start_by", "The job expires if it has not started by then."),
    parameter("finish_by", "The job expires if it has not ended by then."),
    parameter("run_timeout", "The longest that one attempt may run, as a duration."),
    *(parameter(*option) for option in RETRY_OPTIONS),
    parameter("webhook", "A URL that is notified when the job ends, if the service allows it."),
    parameter("webhook_events", "Such as `job.failed`, with commas; the service has a default."),
    parameter("events", "Whether clients can follow its output.", {"type": "boolean"}),
    parameter("wait", "How long to wait for the result, such as `5s`."),
    parameter("Prefer", "`wait=N`: the same, in seconds.", where="header"),
]
#: Any type is accepted; client generators need each by name, and do not know `*/*`.
_ANYTHING: Schema = {
    names.JSON: {"schema": {}},
    "text/plain": {"schema": {"type": "string"}},
    "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
}
_PUT_ANSWERS = {
    "200": {
        "description": "The job had ended, or with `wait` its result.",
        "content": _ANYTHING,
    },
    "202": with_headers(
        answer("The job is stored.", names.JSON, _A_JOB),
        {"Location": "The job's path.", **_LOOK_AGAIN},
    ),
    "204": answer("With `wait`: it succeeded without a result."),
    "409": answer("The id belongs to another job, or the job did not succeed.", "P"),
    "413": answer("The input is above the limit.", "P"),
    "429": with_headers(answer("The token has reached a limit.", "P"), _SEND_AGAIN),
    "503": with_headers(
        answer("The queue is full, or the store is unavailable.", "P"), _SEND_AGAIN
    ),
}
_FAILURES = {
    "400": answer("A parameter is invalid.", "P"),
    "401": answer("The token is missing or invalid.", "P"),
    "403": answer("The token lacks the scope.", "P"),
    "404": answer("There is no such service, or no such job.", "P"),
    "503": with_headers(answer("The store is unavailable.", "P"), _SEND_AGAIN),
}
_INPUT = {"content": _ANYTHING, "description": "The input.", "required": True}


def verb(about: str, answers: dict[str, Schema], **more: object) -> Schema:
    """One method of a path."""
    return {"summary": about, "responses": _with_problems({**_FAILURES, **answers}), **more}


def _with_problems(answers: dict[str, Schema]) -> dict[str, Schema]:
    problem = {names.PROBLEM_JSON: {"schema": ref("Problem")}}
    return {
        status: {**one, "content": problem} if "P" in one.get("content", {}) else one
        for status, one in answers.items()
    }


_WAIT = parameter("wait", "How long to wait for the end, as a duration.")
_OWNER = parameter("owner", "Whose jobs; only tokens that see all jobs may name another owner.")
_ONE = [in_path("service"), in_path("job")]


def _many() -> Schema:
    limit = {**WHOLE, "minimum": 1, "maximum": 1000}
    listed = "The outcome of each of many jobs, or as with PUT."
    return {
        "parameters": [in_path("service")],
        "get": verb(
            "A page of jobs, the newest first.",
            {"200": answer("Some jobs.", names.JSON, ref("Page"))},
            parameters=[
                parameter("state", "Only these.", ref("State")),
                parameter("tag", "`name:value`; repeated.", _TEXTS),
                parameter("worker", "Only those of this worker."),
                parameter("since", "A time (RFC 3339), or a duration before now (`90s`)."),
                parameter("until", "The same, for the latest."),
                parameter("limit", "The most jobs of one page.", limit),
                parameter("after", "The `after` of the page before."),
                _OWNER,
            ],
        ),
        "post": verb(
            "Put a job, or many.",
            {
                **_PUT_ANSWERS,
                "200": answer(listed, NDJSON, ref("Outcome")),
                "422": answer("The key belongs to another job.", "P"),
            },
            parameters=[
                *_OPTIONS,
                parameter("Idempotency-Key", "A repeated key puts nothing.", where="header"),
            ],
            requestBody={**_INPUT, "content": {**_ANYTHING, NDJSON: {"schema": ref("Line")}}},
        ),
    }


def _one() -> Schema:
    return {
        "parameters": _ONE,
        "get": verb(
            "Get a job.",
            {"200": answer("The job.", names.JSON, _A_JOB)},
            parameters=[_OWNER],
        ),
        "put": verb(
            "Put a job under an id.", _PUT_ANSWERS, parameters=_OPTIONS, requestBody=_INPUT
        ),
        "delete": verb(
            "Delete a job and its result.",
            {"204": answer("It is deleted."), "409": answer("It is running.", "P")},
            parameters=[_OWNER],
        ),
    }


def _result() -> Schema:
    answers = {
        "200": {"description": "The result.", "content": _ANYTHING},
        "202": with_headers(answer("It is not there yet.", names.JSON, _A_JOB), _LOOK_AGAIN),
        "204": answer("It succeeded without a result."),
        "304": answer("The client already has it (`If-None-Match`)."),
        "409": answer("It did not succeed.", "P"),
        "410": answer("It is no longer stored.", "P"),
    }
    etag = parameter("If-None-Match", "An ETag.", where="header")
    return {
        "parameters": _ONE,
        "get": verb("A job's result.", answers, parameters=[_WAIT, etag, _OWNER]),
    }


def _events() -> Schema:
    about = (
        "Its events: `state` and `end` with a Job, `failed` with a FailedAttempt, and `attempt`, "
        "`delta`, `progress`, `usage`, `cut`, `gone`, and `artifact` with an Artifact."
    )
    answers = {
        "200": answer(about, EVENT_STREAM, {"type": "string"}),
        "204": answer("The client has seen the end."),
    }
    parameters = [
        parameter("Last-Event-ID", "The last event that the client has seen.", where="header"),
        parameter("after", "The same, for clients that cannot send headers."),
        _OWNER,
    ]
    return {"parameters": _ONE, "get": verb("Follow a job.", answers, parameters=parameters)}


def _logs() -> Schema:
    about = "Its lines: objects with `time`, `attempt`, `source`, `level` and `text`."
    answers = {
        "200": {
            "description": about,
            "content": {
                NDJSON: {"schema": ref("LogLine")},
                "text/plain": {"schema": {"type": "string"}},
                EVENT_STREAM: {"schema": {"type": "string"}},
            },
        },
        "204": answer("The client has seen the end."),
    }
    parameters = [
        parameter("attempt", "Only this attempt.", WHOLE),
        parameter("tail", "Only this number of last lines.", WHOLE),
        parameter("follow", "Stream it until the job ends.", {"type": "boolean"}),
        parameter("format", "`json` for lines of JSON, or `text`."),
        parameter("Last-Event-ID", "The last event that the client has seen.", where="header"),
        parameter("after", "The same, for clients that cannot send headers."),
        _OWNER,
    ]
    return {"parameters": _ONE, "get": verb("The log of a job.", answers, parameters=parameters)}


def _artifacts() -> Schema:
    listed = an_object({"artifacts": {"type": "array", "items": ref("Artifact")}})
    about = "The files that a job has added beside its result, so far."
    answers = {"200": answer("The artifacts so far.", names.JSON, listed)}
    return {"parameters": _ONE, "get": verb(about, answers, parameters=[_OWNER])}


def _one_artifact() -> Schema:
    binary = {"type": "string", "format": "binary"}
    answers = {
        "200": answer("The content.", "application/octet-stream", binary),
        "206": answer("The part that `Range` names.", "application/octet-stream", binary),
        "304": answer("The client already has it (`If-None-Match`)."),
        "416": answer("The content has no such part."),
    }
    parameters = [
        parameter("Range", "Such as `bytes=0-99`.", where="header"),
        parameter("If-None-Match", "An ETag.", where="header"),
        _OWNER,
    ]
    return {
        "parameters": [*_ONE, in_path("artifact")],
        "get": verb("The content of an artifact.", answers, parameters=parameters),
    }


def _cancel() -> Schema:
    answers = {
        "200": answer("It is canceled.", names.JSON, _A_JOB),
        "202": answer("Its worker is stopping it.", names.JSON, _A_JOB),
        "409": answer("It has ended.", "P"),
    }
    waits = [
        parameter("wait", "Wait for the worker, such as `5s`."),
        parameter("Prefer", "`wait=N`: the same, in seconds.", where="header"),
        _OWNER,
    ]
    return {"parameters": _ONE, "post": verb("Cancel a job.", answers, parameters=waits)}


def document(routes: Iterable[Route]) -> Schema:
    """Return the whole document.  routes: the table that says what each operation needs."""
    needs = {(route.documented_path, route.method.lower()): route.needs for route in routes}
    page = {
        "jobs": {"type": "array", "items": _A_JOB},
        "after": or_null(text("Where the next page begins; null at the end.")),
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Penstock",
            "version": version("penstock"),
            "description": "The jobs API. The other APIs are described elsewhere.",
        },
        "security": [{"token": []}],
        "paths": {path: _secured(path, item, needs) for path, item in _paths().items()},
        "components": {
            "securitySchemes": {
                "token": {"type": "apiKey", "in": "header", "name": "Authorization"}
            },
            "schemas": {
                "State": {"type": "string", "enum": [str(state) for state in State]},
                "Artifact": ARTIFACT,
                "LogLine": LOG_LINE,
                "Job": JOB,
                "FailedAttempt": FAILED_ATTEMPT,
                "Problem": PROBLEM,
                "Line": LINE,
                "Outcome": OUTCOME,
                "Page": an_object(page),
            },
        },
    }


def _paths() -> dict[str, Schema]:
    jobs = names.JOBS_PATH
    return {
        "/healthz": {"get": _open("The process runs.")},
        "/readyz": {"get": _open("It can serve.", answer("It cannot."))},
        "/openapi.json": {"get": _open("This document.")},
        jobs: _many(),
        f"{jobs}/{{job}}": _one(),
        f"{jobs}/{{job}}/result": _result(),
        f"{jobs}/{{job}}/events": _events(),
        f"{jobs}/{{job}}/logs": _logs(),
        f"{jobs}/{{job}}/artifacts": _artifacts(),
        f"{jobs}/{{job}}/artifacts/{{artifact}}": _one_artifact(),
        f"{jobs}/{{job}}/cancel": _cancel(),
    }


def _secured(path: str, item: Schema, needs: Mapping[tuple[str, str], Requirement[Any]]) -> Schema:
    """Add to each operation which scopes a token needs, one of the listed; none when public."""
    secured = dict(item)
    for method in METHODS & item.keys():
        any_of = needs[path, method].any_of
        secured[method] = {
            **item[method],
            "security": [{"token": [str(scope)]} for scope in any_of],
        }
    return secured


def _open(about: str, absent: Schema | None = None) -> Schema:
    answers = {"200": answer(about), **({"503": absent} if absent else {})}
    return {"summary": about, "responses": answers}
