"""The schemas of the OpenAPI document: jobs, problems, and the lines of a batch."""

from typing import Any

from client_sdk.wire.codes import Code
from client_sdk.wire.failures import FailureType
from client_sdk.wire.job_log import SERVICE, SOURCES

Schema = dict[str, Any]


def text(about: str, **more: object) -> Schema:
    """A string."""
    return {"type": "string", "description": about, **more}


def or_null(schema: Schema) -> Schema:
    """The same, or null."""
    return {**schema, "type": [schema["type"], "null"]}


def moment(about: str) -> Schema:
    """A time, or null for none."""
    return or_null(text(about, format="date-time"))


def ref(name: str) -> Schema:
    """A reference to a schema of the components."""
    return {"$ref": f"#/components/schemas/{name}"}


def an_object(properties: dict[str, Schema], **more: object) -> Schema:
    """An object that has all of these."""
    return {"type": "object", "properties": properties, "required": list(properties), **more}


#: A number from 0 on.
WHOLE = {"type": "integer", "minimum": 0}
_SECONDS = {"type": "number", "minimum": 0}
_MOMENTS = an_object(
    {
        "p50": text("The median.", format="date-time"),
        "p90": text("The 90th percentile.", format="date-time"),
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
        "code": or_null(text("The failure, as a code.")),
        "message": or_null(text("The handler's message; null without the scope `read`.")),
    }
)
_RETRY = an_object(
    {
        "first_pause_s": {
            **_NUMBER,
            "description": "Seconds between the first failure and the next attempt.",
        },
        "factor": {**_NUMBER, "description": "Each further pause is this many times as long."},
        "longest_pause_s": {**_NUMBER, "description": "No pause is longer, but for `jitter`."},
        "jitter": {**_NUMBER, "description": "Up to this share of a pause is added at random."},
    },
    description="The pauses between attempts.  `bad_input` is never tried again; `oom`, "
    "`engine_lost` and `gpu_lost` have a first further attempt without a pause.",
)
#: The data of an event `failed`.
FAILED_ATTEMPT = an_object(
    {
        **_ERROR["properties"],
        "pause_s": {
            "type": ["number", "null"],
            "minimum": 0,
            "description": "Seconds until the next attempt; null when this one ended the job.",
        },
        "next_attempt_at": moment("When the pause ends; null without a pause."),
        "attempt": {**WHOLE, "minimum": 1, "description": "The attempt that failed."},
    },
    description="The data of the event `failed`: an attempt failed.",
)
#: The options for further attempts: name, description, schema.
RETRY_OPTIONS: list[tuple[str, str, Schema]] = [
    ("max_attempts", "The most attempts; 1 for no retry.", {"type": "integer", "minimum": 1}),
    ("retry_pause", "The pause before the second attempt, as a duration.", {"type": "string"}),
    (
        "retry_factor",
        "Each further pause is this many times as long.",
        {"type": "number", "minimum": 1, "maximum": 100},
    ),
    ("retry_longest_pause", "No pause is longer, as a duration.", {"type": "string"}),
    (
        "retry_jitter",
        "The share of a pause that is added at random.",
        {**_NUMBER, "maximum": 1},
    ),
]

#: A file that a job has added beside its result.
ARTIFACT = an_object(
    {
        "name": text("Its name, unique in the job."),
        "bytes": WHOLE,
        "content_type": text("Its media type."),
        "sha256": text("The SHA-256 of its content, hexadecimal."),
        "url": text("A path."),
    }
)

#: A line of the log of a job.
LOG_LINE = an_object(
    {
        "time": text("When.", format="date-time"),
        "attempt": WHOLE,
        "source": text("Where it comes from.", enum=[*SOURCES, SERVICE]),
        "level": or_null(text("Of a logged line, such as INFO.")),
        "text": text("The line."),
    }
)

_LINKS = ("self", "result", "events", "logs", "cancel", "artifacts")

#: A job.
JOB = an_object(
    {
        "id": text("The request id."),
        "owner": or_null(text("Its owner; null if put with the service's own token.")),
        "service": text("The service."),
        "state": ref("State"),
        "reason": or_null(text("Why it did not succeed, as a code.")),
        "error": {"oneOf": [{"type": "null"}, _ERROR]},
        "progress": {
            "oneOf": [
                {"type": "null"},
                an_object(
                    {
                        "fraction": {
                            "type": "number",
                            "description": "As the handler reported it.",
                        },
                        "note": text("The text that it reported with it."),
                    }
                ),
            ]
        },
        "attempt": {
            **WHOLE,
            "description": "The number of the newest attempt, 0 before the first.",
        },
        "priority": WHOLE,
        "position": {
            "type": ["integer", "null"],
            "minimum": 0,
            "description": "How many jobs are ahead; `position_is` says how exact that is.",
        },
        "position_is": or_null(text("`exact`, `at_most` or `about`; other tokens' jobs compete.")),
        "scheduled": {"type": "boolean", "description": "It waits for its `not_before`."},
        "canceling": {"type": "boolean", "description": "Its worker is stopping it."},
        "worker": or_null(text("The worker that runs it, or ran it last.")),
        "index": {"type": ["integer", "null"], "description": "Its entry in the input queue."},
        "created_at": moment("When it was put."),
        "started_at": moment("When the newest attempt began."),
        "ended_at": moment("When it ended."),
        "result_expires_at": moment("Until when its result is kept."),
        "result_read_at": moment("When its owner read it: it is dropped first if room is needed."),
        "next_attempt_at": moment("When its pause after a failed attempt ends."),
        "waiting_for": or_null(
            text(
                "What it waits for besides a worker: `resume` of its paused service, `window`, or "
                "room for its result in the `sink`."
            )
        ),
        "waiting_until": moment("When the time window opens, or the next result expires."),
        "waiting_because": or_null(text("Why there is no room in the sink, and what to do.")),
        "not_before": moment("It does not start before this time."),
        "start_by": moment("It expires if it has not started by then."),
        "finish_by": moment("It expires if it has not ended by then."),
        "run_timeout_s": {
            "type": ["number", "null"],
            "description": "How long an attempt may run.",
        },
        "max_attempts": {
            "type": ["integer", "null"],
            "description": "The most attempts; null for any number.",
        },
        "retry": {"oneOf": [{"type": "null"}, _RETRY]},
        "estimate": {
            "oneOf": [
                {"type": "null"},
                an_object({"start": {"oneOf": [{"type": "null"}, _MOMENTS]}, "finish": _MOMENTS}),
            ]
        },
        "links": an_object({name: text("A path.") for name in _LINKS}),
    }
)
JOB["properties"]["artifacts"] = {
    "type": "array",
    "items": ref("Artifact"),
    "description": "What it has added so far; not in lists.",
}

#: An error.
PROBLEM = {
    "type": "object",
    "properties": {
        "type": text("urn:penstock:problem: and the code."),
        "title": text("The kind of problem."),
        "status": {"type": "integer"},
        "detail": text("What was expected and what arrived."),
        "code": text("The code.", enum=[str(code) for code in Code]),
        "job_id": text("The job that it is about."),
        "state": ref("State"),
        "reason": or_null(text("Why the job did not succeed.")),
        "error": {"oneOf": [{"type": "null"}, _ERROR]},
        "limit_bytes": {"type": "integer", "description": "The largest size that is accepted."},
    },
    "required": ["type", "title", "status", "detail", "code"],
}

#: A line of a batch.
LINE = {
    "type": "object",
    "description": "A job of many: `input` or `input_base64`, and options.",
    "properties": {
        "id": text("An id that you choose."),
        "idempotency_key": text("A repeated key puts nothing."),
        "input": {"description": "Text, or any JSON value."},
        "input_base64": text("Bytes."),
        "priority": WHOLE,
        "tags": {"type": "object", "additionalProperties": {"type": "string"}},
        "path": text("The sub-path, for engines that are HTTP servers."),
        "content_type": text("Of the input."),
        "not_before": text("A time, or a duration from now."),
        "start_by": text("A time, or a duration from now."),
        "finish_by": text("A time, or a duration from now."),
        "run_timeout": text("A duration, such as 90s."),
        "events": {"type": "boolean"},
        **{name: {"description": about, **schema} for name, about, schema in RETRY_OPTIONS},
    },
    "additionalProperties": False,
}

#: The outcome of a line.
OUTCOME = {
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
