"""One pure function per operation of the jobs API: from arguments to a request.  No I/O."""

import json
import math
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from client_sdk.calls import Answer, Call, Data, body_of
from client_sdk.wire import names
from client_sdk.wire.errors import WireError

#: The final states of a job.
FINAL = frozenset({"succeeded", "failed", "canceled", "expired"})


@dataclass(frozen=True, slots=True)
class Job:
    """A job as the service described it.

    state: queued, running, succeeded, failed, canceled or expired.  position: while it is queued,
    the number of entries that are delivered before it.  data: all fields of the response.
    """

    id: str
    state: str
    attempt: int
    position: int | None
    data: Mapping[str, Any] = field(repr=False)

    @property
    def has_ended(self) -> bool:
        return self.state in FINAL


@dataclass(frozen=True, slots=True)
class JobPage:
    """Some jobs of a list, and where the next page begins, "" at the end."""

    jobs: list[Job]
    after: str


@dataclass(frozen=True, slots=True)
class JobEvent:
    """One event of a job: its kind, its data, and its id, "" if it has none."""

    kind: str
    data: Mapping[str, Any]
    id: str = ""


@dataclass(frozen=True, slots=True)
class Artifact:
    """A file that a job has added beside its result.

    name: unique in the job.  sha256: hexadecimal.  data: all fields of the response.
    """

    name: str
    size_bytes: int
    content_type: str
    sha256: str
    data: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line of a job's log.

    time: RFC 3339.  source: stdout, stderr, log (the standard logging), worker or service.
    level: of a logged line, such as INFO, else "".
    """

    time: str
    attempt: int
    source: str
    level: str
    text: str


@dataclass(frozen=True, slots=True)
class JobResult:
    """A result; `open` if the job has not ended."""

    data: bytes
    open: bool


@dataclass(frozen=True, slots=True)
class SavedResult:
    """A result that was written to a file.  content_type: its media type, "" if it is empty."""

    path: Path
    content_type: str


def submit(data: Data, options: Mapping[str, Any], *, job_id: str) -> Call[Job]:
    """Submit a job, by default with a generated id, so that repetitions submit it only once."""
    fields = [(name, _text(value)) for name, value in options.items() if value not in (None, "")]
    tags = dict(options.get("tags") or {})
    fields = [(name, value) for name, value in fields if name not in ("tags", "content_type")]
    fields += [("tag", f"{name}:{value}") for name, value in tags.items()]
    kind = options.get("content_type")
    return Call(
        "submit",
        "PUT",
        _job,
        query=urlencode(fields),
        path=_path(job_id or str(uuid.uuid4())),
        body=body_of(data),
        headers={"Content-Type": str(kind)} if kind else {},
        passes=frozenset({200, 202}),
    )


def get(job_id: str) -> Call[Job]:
    """Read the state of a job."""
    return Call("get", "GET", _job, path=_path(job_id))


def page(wanted: Mapping[str, Any], *, after: str, length: int) -> Call[JobPage]:
    """List jobs, one page."""
    fields = [(name, str(value)) for name, value in wanted.items() if value and name != "tags"]
    fields += [("tag", f"{name}:{value}") for name, value in (wanted.get("tags") or {}).items()]
    fields += [("limit", str(length)), *([("after", after)] if after else [])]
    return Call("list", "GET", _page, query=urlencode(fields))


def result(job_id: str, *, wait_s: float) -> Call[JobResult]:
    """Read a result, which stays in the service."""
    return Call(
        "result",
        "GET",
        lambda answer: JobResult(answer.body, answer.status == 202),
        query=f"wait={wait_s:.3f}s" if wait_s else "",
        path=f"{_path(job_id)}/result",
        passes=frozenset({200, 202, 204}),
        wait_s=wait_s,
    )


def cancel(job_id: str, *, wait_s: float) -> Call[Job]:
    """Cancel a job; wait up to `wait_s` until its worker has stopped it."""
    return Call(
        "cancel",
        "POST",
        _job,
        path=f"{_path(job_id)}/cancel",
        headers={"Prefer": f"wait={math.ceil(wait_s)}"} if wait_s > 0 else {},
        passes=frozenset({200, 202}),
        wait_s=wait_s,
    )


def delete(job_id: str) -> Call[None]:
    """Delete a job that has ended or waits, with all its data."""
    return Call("delete", "DELETE", lambda _: None, path=_path(job_id), passes=frozenset({204}))


def artifacts(job_id: str) -> Call[list[Artifact]]:
    """List what a job has added so far."""
    return Call("artifacts", "GET", _artifacts, path=f"{_path(job_id)}/artifacts")


def logs(job_id: str, *, attempt: int, tail: int) -> Call[list[LogLine]]:
    """Read the log of a job, or the last lines of it."""
    fields = [(name, n) for name, n in (("attempt", attempt), ("tail", tail)) if n]
    return Call("logs", "GET", _log, query=urlencode(fields), path=f"{_path(job_id)}/logs")


def log_path(job_id: str, *, attempt: int, tail: int) -> str:
    """Return the path and query of a log that is followed."""
    fields = {"follow": "true", "attempt": attempt, "tail": tail}
    return f"{_path(job_id)}/logs?{urlencode(fields)}"


def log_line(data: Mapping[str, Any]) -> LogLine:
    """Read a line as the service describes it."""
    try:
        return LogLine(
            str(data["time"] or ""),
            int(data["attempt"]),
            str(data["source"]),
            str(data["level"] or ""),
            str(data["text"]),
        )
    except (KeyError, TypeError, ValueError):
        raise WireError("a line of a log", names.JSON) from None


def artifact_path(jobs_path: str, job_id: str, name: str) -> str:
    """Return the path of an artifact's content."""
    return f"{jobs_path}{_path(job_id)}/artifacts/{quote(name, safe='')}"


def result_path(jobs_path: str, job_id: str, *, wait_s: float) -> str:
    """Return the path and query of a result."""
    query = f"?wait={wait_s:.3f}s" if wait_s else ""
    return f"{jobs_path}{_path(job_id)}/result{query}"


def _path(job_id: str) -> str:
    return f"/{quote(job_id, safe='')}"


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _job(answer: Answer) -> Job:
    try:
        return _described(json.loads(answer.body))
    except (ValueError, KeyError, TypeError):
        raise WireError("a job", names.JSON) from None


def _page(answer: Answer) -> JobPage:
    try:
        data = json.loads(answer.body)
        return JobPage([_described(job) for job in data["jobs"]], data["after"] or "")
    except (ValueError, KeyError, TypeError):
        raise WireError("a page of jobs", names.JSON) from None


def _described(data: Mapping[str, Any]) -> Job:
    return Job(data["id"], data["state"], data["attempt"], data["position"], data)


def _log(answer: Answer) -> list[LogLine]:
    try:
        return [log_line(json.loads(line)) for line in answer.body.splitlines()]
    except ValueError:
        raise WireError("the log of a job", names.JSON) from None


def _artifacts(answer: Answer) -> list[Artifact]:
    try:
        return [
            Artifact(
                str(data["name"]),
                int(data["bytes"]),
                str(data["content_type"]),
                str(data["sha256"]),
                data,
            )
            for data in json.loads(answer.body)["artifacts"]
        ]
    except (ValueError, KeyError, TypeError):
        raise WireError("the artifacts of a job", names.JSON) from None
