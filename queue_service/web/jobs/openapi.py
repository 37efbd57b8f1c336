"""The jobs face as an OpenAPI 3.1 document, kept by hand: tests hold it against the routes and
against answers."""

from importlib.metadata import version
from typing import Any

from aiohttp import web

from client_sdk.wire import names
from client_sdk.wire.codes import Code
from client_sdk.wire.failures import FailureType
from queue_service.store.ticket import State
from queue_service.web.jobs.batch import NDJSON
from queue_service.web.jobs.events import EVENT_STREAM
from queue_service.web.keys import ADDRESSES
from queue_service.web.strict_json import json_response

Schema = dict[str, Any]


def text(about: str, **more: object) -> Schema:
    """A text."""
    return {"type": "string", "description": about, **more}


def or_null(schema: Schema) -> Schema:
    """The same, or null."""
    return {**schema, "type": [schema["type"], "null"]}


def moment(about: str) -> Schema:
    """A time, or null for none."""
    return or_null(text(about, format="date-time"))


def ref(name: str) -> Schema:
    """A schema that stands among the components."""
    return {"$ref": f"#/components/schemas/{name}"}


def an_object(properties: dict[str, Schema], **more: object) -> Schema:
    """An object that has all of these."""
    return {"type": "object", "properties": properties, "required": list(properties), **more}


_WHOLE = {"type": "integer", "minimum": 0}
_SECONDS = {"type": "number", "minimum": 0}
_MOMENTS = an_object(
    {
        "p50": text("The median.", format="date-time"),
        "p90": text("What nine of ten stay below.", format="date-time"),
        "p50_s": {**_SECONDS, "description": "The same in seconds from now."},
        "p90_s": _SECONDS,
    }
)

_NUMBER: Schema = {"type": "number", "minimum": 0}
_ERROR = an_object(
    {
        "type": {
            "type": ["string", "null"],
            "enum": [*(str(kind) for kind in FailureType), None],
            "description": "What kind of failure; null for a job that was canceled.",
        },
        "code": or_null(text("The failure, as a machine word.")),
        "message": or_null(text("What the handler said; not in a list, nor without scope `read`.")),
    }
)
_RETRY = an_object(
    {
        "first_pause_s": _NUMBER,
        "factor": _NUMBER,
        "longest_pause_s": _NUMBER,
        "jitter": _NUMBER,
    }
)
_RETRY_OPTIONS: list[tuple[str, str, Schema]] = [
    ("max_attempts", "How often it is tried at most.", {"type": "integer", "minimum": 1}),
    ("retry_pause", "Until the second attempt, as a duration.", {"type": "string"}),
    ("retry_factor", "How much longer each further pause is.", {"type": "number", "minimum": 1}),
    ("retry_longest_pause", "No pause is longer, as a duration.", {"type": "string"}),
    ("retry_jitter", "The share of a pause that is added at random, 0 to 1.", _NUMBER),
]

_JOB = an_object(
    {
        "id": text("The request id."),
        "service": text("The service that it was put into."),
        "state": ref("State"),
        "reason": or_null(text("Why it did not succeed, as a machine word.")),
        "error": {"oneOf": [{"type": "null"}, _ERROR]},
        "progress": {
            "oneOf": [
                {"type": "null"},
                an_object(
                    {
                        "fraction": {"type": "number", "description": "As the handler told it."},
                        "note": text("What it said with it."),
                    }
                ),
            ]
        },
        "attempt": {**_WHOLE, "description": "How often it was handed to a worker."},
        "priority": _WHOLE,
        "position": {
            "type": ["integer", "null"],
            "minimum": 0,
            "description": "How many go out before it; `position_is` says how good the number is.",
        },
        "position_is": or_null(text("`exact`, `at_most` or `about`; other tokens' jobs compete.")),
        "scheduled": {"type": "boolean", "description": "It is not in line before its time."},
        "canceling": {"type": "boolean", "description": "Its worker is told to stop it."},
        "worker": or_null(text("The worker that has it, or had it last.")),
        "index": {"type": ["integer", "null"], "description": "Its entry in the input queue."},
        "created_at": moment("When it was put."),
        "started_at": moment("When the newest attempt began."),
        "ended_at": moment("When it ended."),
        "result_expires_at": moment("Until when its result is kept."),
        "next_attempt_at": moment("Until when it waits after a failed attempt."),
        "not_before": moment("Before this it is not in line."),
        "start_by": moment("It expires when it has not begun by then."),
        "finish_by": moment("It expires when it has not ended by then."),
        "run_timeout_s": {"type": ["number", "null"], "description": "The longest attempt."},
        "max_attempts": {"type": ["integer", "null"], "description": "How often it is tried."},
        "retry": {"oneOf": [{"type": "null"}, _RETRY]},
        "estimate": {
            "oneOf": [
                {"type": "null"},
                an_object({"start": {"oneOf": [{"type": "null"}, _MOMENTS]}, "finish": _MOMENTS}),
            ]
        },
        "links": an_object(
            {name: text("A path.") for name in ("self", "result", "events", "cancel")}
        ),
    }
)

_PROBLEM = {
    "type": "object",
    "properties": {
        "type": text("urn:penstock:problem: and the code."),
        "title": text("The kind of problem."),
        "status": {"type": "integer"},
        "detail": text("What was expected and what came."),
        "code": text("The machine word.", enum=[str(code) for code in Code]),
        "job_id": text("The job that it is about."),
        "state": ref("State"),
        "reason": or_null(text("Why the job did not succeed.")),
        "error": {"oneOf": [{"type": "null"}, _ERROR]},
        "limit_bytes": {"type": "integer", "description": "The most that is taken."},
    },
    "required": ["type", "title", "status", "detail", "code"],
}

_LINE = {
    "type": "object",
    "description": "A job of many: `input` or `input_base64`, and options.",
    "properties": {
        "id": text("An id of your own."),
        "idempotency_key": text("The same key again puts nothing."),
        "input": {"description": "Text, or anything that becomes JSON."},
        "input_base64": text("Bytes."),
        "priority": _WHOLE,
        "tags": {"type": "object", "additionalProperties": {"type": "string"}},
        "path": text("The sub-path, for engines that are HTTP servers."),
        "content_type": text("Of the input."),
        "not_before": text("A time, or a duration from now."),
        "start_by": text("A time, or a duration from now."),
        "finish_by": text("A time, or a duration from now."),
        "run_timeout": text("A duration, such as 90s."),
        "events": {"type": "boolean"},
        **{name: {"description": about, **schema} for name, about, schema in _RETRY_OPTIONS},
    },
    "additionalProperties": False,
}

_OUTCOME = {
    "type": "object",
    "properties": {
        "line": {"type": "integer", "minimum": 1},
        "status": {"type": "integer"},
        "id": text("The job's id."),
        "location": text("The job's path."),
        "problem": ref("Problem"),
    },
    "required": ["line", "status"],
}


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


_A_JOB = ref("Job")
_OPTIONS = [
    parameter("priority", "Above 0 goes first.", _WHOLE),
    parameter("tag", "`name:value`; repeated.", {"type": "array", "items": {"type": "string"}}),
    parameter("path", "The sub-path, for engines that are HTTP servers."),
    parameter("not_before", "A time (RFC 3339), or a duration from now (`90s`)."),
    parameter("start_by", "It expires when it has not begun by then."),
    parameter("finish_by", "It expires when it has not ended by then."),
    parameter("run_timeout", "The longest that one attempt may run, as a duration."),
    *(parameter(*option) for option in _RETRY_OPTIONS),
    parameter("events", "Whether its output can be followed.", {"type": "boolean"}),
    parameter("wait", "Answer with the result when it is there in this time, such as `5s`."),
    parameter("Prefer", "`wait=N`: the same, in seconds.", where="header"),
]
#: Any type will do; programs that write clients want each by its name, and know no `*/*`.
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
    "202": answer("The job is taken.", names.JSON, _A_JOB),
    "204": answer("With `wait`: it succeeded and nothing came of it."),
    "409": answer("The id stands for another job, or the job did not succeed.", "P"),
    "413": answer("The input is above the limit.", "P"),
    "429": answer("The token has as much as its limits permit.", "P"),
    "503": answer("The queue is full, or the store away.", "P"),
}
_FAILURES = {
    "400": answer("A parameter is malformed.", "P"),
    "401": answer("The token is missing or wrong.", "P"),
    "403": answer("The token does not permit this.", "P"),
    "404": answer("There is no such service, or no such job.", "P"),
    "503": answer("The store is away.", "P"),
}
_INPUT = {"content": _ANYTHING, "description": "The input, as it is.", "required": True}


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
_ONE = [in_path("service"), in_path("job")]


def _many() -> Schema:
    limit = {**_WHOLE, "minimum": 1, "maximum": 1000}
    listed = "What became of each of many, or as with PUT."
    return {
        "parameters": [in_path("service")],
        "get": verb(
            "A page of jobs.",
            {"200": answer("Some jobs.", names.JSON, ref("Page"))},
            parameters=[
                parameter("state", "Only these.", ref("State")),
                parameter("limit", "Most of one page.", limit),
                parameter("after", "What an earlier page gave."),
            ],
        ),
        "post": verb(
            "Put a job, or many.",
            {
                **_PUT_ANSWERS,
                "200": answer(listed, NDJSON, ref("Outcome")),
                "422": answer("The key stands for another job.", "P"),
            },
            parameters=[
                *_OPTIONS,
                parameter("Idempotency-Key", "The same again puts nothing.", where="header"),
            ],
            requestBody={**_INPUT, "content": {**_ANYTHING, NDJSON: {"schema": ref("Line")}}},
        ),
    }


def _one() -> Schema:
    return {
        "parameters": _ONE,
        "get": verb("Where a job is.", {"200": answer("The job.", names.JSON, _A_JOB)}),
        "put": verb(
            "Put a job under an id.", _PUT_ANSWERS, parameters=_OPTIONS, requestBody=_INPUT
        ),
        "delete": verb(
            "Remove everything of a job.",
            {"204": answer("Gone."), "409": answer("It runs.", "P")},
        ),
    }


def _result() -> Schema:
    answers = {
        "200": {"description": "The result.", "content": _ANYTHING},
        "202": answer("It is not there yet.", names.JSON, _A_JOB),
        "204": answer("It succeeded and nothing came of it."),
        "304": answer("As `If-None-Match` has it."),
        "409": answer("It did not succeed.", "P"),
        "410": answer("It is gone.", "P"),
    }
    etag = parameter("If-None-Match", "An ETag.", where="header")
    return {"parameters": _ONE, "get": verb("A job's result.", answers, parameters=[_WAIT, etag])}


def _events() -> Schema:
    answers = {
        "200": answer("Its events.", EVENT_STREAM, {"type": "string"}),
        "204": answer("The end was seen already."),
    }
    parameters = [
        parameter("Last-Event-ID", "The last one that was seen.", where="header"),
        parameter("after", "The same, for who cannot send headers."),
    ]
    return {"parameters": _ONE, "get": verb("Follow a job.", answers, parameters=parameters)}


def _cancel() -> Schema:
    answers = {
        "200": answer("It is canceled.", names.JSON, _A_JOB),
        "202": answer("Its worker is told.", names.JSON, _A_JOB),
        "409": answer("It had ended.", "P"),
    }
    waits = [
        parameter("wait", "Wait for the worker, such as `5s`."),
        parameter("Prefer", "`wait=N`: the same, in seconds.", where="header"),
    ]
    return {"parameters": _ONE, "post": verb("Cancel a job.", answers, parameters=waits)}


def document() -> Schema:
    """The whole document."""
    jobs = names.JOBS_PATH
    page = {
        "jobs": {"type": "array", "items": _A_JOB},
        "after": or_null(text("Where the next page begins; null at the end.")),
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Penstock",
            "version": version("penstock"),
            "description": "The jobs API. The other faces are described elsewhere.",
        },
        "security": [{"token": []}],
        "paths": {
            "/healthz": {"get": _open("The process runs.")},
            "/readyz": {"get": _open("It can serve.", answer("It cannot."))},
            "/openapi.json": {"get": _open("This document.")},
            jobs: _many(),
            f"{jobs}/{{job}}": _one(),
            f"{jobs}/{{job}}/result": _result(),
            f"{jobs}/{{job}}/events": _events(),
            f"{jobs}/{{job}}/cancel": _cancel(),
        },
        "components": {
            "securitySchemes": {
                "token": {"type": "apiKey", "in": "header", "name": "Authorization"}
            },
            "schemas": {
                "State": {"type": "string", "enum": [str(state) for state in State]},
                "Job": _JOB,
                "Problem": _PROBLEM,
                "Line": _LINE,
                "Outcome": _OUTCOME,
                "Page": an_object(page),
            },
        },
    }


def _open(about: str, absent: Schema | None = None) -> Schema:
    answers = {"200": answer(about), **({"503": absent} if absent else {})}
    return {"summary": about, "security": [], "responses": answers}


async def show_document(request: web.Request) -> web.Response:
    """Answer with the document; it is open to everybody."""
    here = request.app[ADDRESSES].of(request)
    return json_response({**document(), "servers": [{"url": here.url("")}]})
