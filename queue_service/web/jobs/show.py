"""A job as the jobs API shows it."""

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from urllib.parse import quote

from client_sdk.wire.retry import AttemptPolicy
from queue_service.service.estimate import Estimate
from queue_service.service.service import Service
from queue_service.service.sink_wording import why_full
from queue_service.settings.windows import Windows, opens_after
from queue_service.store.artifacts import Artifact
from queue_service.store.outcomes import SinkState
from queue_service.store.owners import plain_name
from queue_service.store.ticket import Seen, State
from queue_service.web.address import linked

#: The least and the most that Retry-After says, in seconds, and its value without an estimate.
LEAST_RETRY_S, MOST_RETRY_S, UNKNOWN_RETRY_S = 1, 3600, 5

_SENTENCES = {
    State.CANCELED: "it was canceled",
    State.EXPIRED: "it had not started by `start_by`, or not ended by `finish_by`",
}


def path_of(service: str, job_id: str) -> str:
    """Return the path of a job, as the client of this request has to write it."""
    return linked(f"/v1/services/{service}/jobs/{quote(job_id, safe='')}")


async def show(service: Service, seen: Seen, *, whole: bool = False) -> dict[str, object]:
    """Describe a job, with an estimate until it has ended.

    whole: with its handler's error message.
    """
    windows = service.windows_for(seen) if seen.state is State.QUEUED else []
    estimate = None if seen.has_ended else await service.tickets.estimate(seen, windows)
    own = str(seen.ticket.get("retry", ""))
    retry, most = service.retry_of(own, has_ticket=bool(seen.ticket))
    return {
        **describe(service.name, seen, estimate, whole=whole),
        **_waiting(seen, windows, await service.tickets.sink.state_for(seen)),
        "max_attempts": most or None,
        "retry": _retry(retry),
    }


async def artifacts_of(service: Service, seen: Seen) -> list[dict[str, object]]:
    """Describe what the newest run of a job has added; a job without artifacts costs nothing."""
    if not seen.has_artifacts:
        return []
    found = await service.artifacts.of(seen.request_id)
    return [describe_artifact(service.name, seen.id, one) for one in found]


def describe_artifact(service: str, job_id: str, artifact: Artifact) -> dict[str, object]:
    """Describe one artifact."""
    return {
        "name": artifact.name,
        "bytes": artifact.file.size_bytes,
        "content_type": artifact.file.content_type,
        "sha256": artifact.file.sha256,
        "url": f"{path_of(service, job_id)}/artifacts/{quote(artifact.name, safe='')}",
    }


def describe(
    service: str, seen: Seen, estimate: Estimate | None, *, whole: bool
) -> dict[str, object]:
    """Describe a job."""
    ticket = seen.ticket
    path = path_of(service, seen.id)
    is_queued = seen.state is State.QUEUED
    ended_at = int(ticket.get("ended_at", 0))
    keep_ms = int(ticket.get("keep_ms", 0))
    has_result = bool(seen.result_index)
    paused = is_queued and bool(seen.paused_until_ms)
    return {
        "id": seen.id,
        "owner": seen.owner or None,
        "service": service,
        "state": str(seen.state),
        "reason": _reason(seen),
        "error": error_of(seen, whole=whole),
        "progress": _progress(seen),
        "attempt": int(ticket.get("attempt", 0)) or seen.attempt,
        "priority": int(ticket.get("priority", 0)) or seen.lane,
        "position": seen.ahead if is_queued and seen.index and not paused else None,
        "position_is": seen.quality if is_queued and seen.index and not paused else None,
        "scheduled": bool(ticket.get("delayed")),
        "canceling": bool(ticket.get("stopping_at")) and not seen.has_ended,
        "worker": plain_name(str(ticket.get("worker", "") or seen.uid)) or None,
        "index": seen.index or None,
        "created_at": iso(int(ticket.get("put_at", 0)) or seen.stored_at_ms),
        "started_at": iso(int(ticket.get("started_at", 0))),
        "ended_at": iso(ended_at),
        "result_expires_at": iso(ended_at + keep_ms if has_result and keep_ms else 0),
        "result_read_at": iso(int(ticket.get("read_at", 0))),
        "next_attempt_at": iso(seen.paused_until_ms) if paused else None,
        "not_before": iso(int(ticket.get("begin_at", 0))),
        "start_by": iso(int(ticket.get("start_by", 0))),
        "finish_by": iso(int(ticket.get("finish_by", 0))),
        "run_timeout_s": int(ticket.get("run_timeout_ms", 0)) / 1000 or None,
        "estimate": _estimate(seen, estimate),
        "links": {
            "self": path,
            "result": f"{path}/result",
            "events": f"{path}/events",
            "logs": f"{path}/logs",
            "cancel": f"{path}/cancel",
            "artifacts": f"{path}/artifacts",
        },
    }


def _waiting(seen: Seen, windows: Sequence[Windows], sink: SinkState | None) -> dict[str, object]:
    """Say what a job waits for that is no worker: its service, the next time window, or room."""
    waits_for, until, because = None, None, None
    if seen.waits_for_resume:
        waits_for = "resume"
    elif not all(one.is_open(seen.now_ms) for one in windows):
        waits_for, until = "window", iso(opens_after(windows, seen.now_ms, 0.0) or 0)
    elif sink is not None:
        waits_for, because = "sink", why_full(sink)
        until = None if sink.next_ms is None else iso(seen.now_ms + sink.next_ms)
    return {"waiting_for": waits_for, "waiting_until": until, "waiting_because": because}


def retry_after(estimate: object) -> str:
    """Return `Retry-After`: when the result may be there, by the estimate in a description."""
    if not isinstance(estimate, Mapping):
        return str(UNKNOWN_RETRY_S)
    finish = estimate["finish"]
    return str(min(MOST_RETRY_S, max(LEAST_RETRY_S, math.ceil(finish["p50_s"]))))


def iso(at_ms: float) -> str | None:
    """Return a time in ms since 1970 in the format of RFC 3339; None for 0."""
    if not at_ms:
        return None
    moment = datetime.fromtimestamp(at_ms / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def error_of(seen: Seen, *, whole: bool) -> dict[str, object] | None:
    """Return why a job did not succeed, or how its last attempt failed; None after a success.

    whole: with the message, in which a handler may quote the input or the output.
    """
    failure = seen.failure
    if seen.state is State.SUCCEEDED or not (failure or seen.has_ended):
        return None
    code, sentence = failure.code if failure else _reason(seen), _SENTENCES.get(seen.state)
    if whole and failure and failure.sentence:
        sentence = failure.sentence
    return {"type": failure.type if failure else None, "code": code, "message": sentence}


def _retry(policy: AttemptPolicy | None) -> dict[str, float] | None:
    if policy is None:
        return None
    return {
        "first_pause_s": policy.first_pause_s,
        "factor": policy.factor,
        "longest_pause_s": policy.longest_pause_s,
        "jitter": policy.jitter,
    }


def _reason(seen: Seen) -> str | None:
    code = seen.ticket.get("code") or seen.result_tags.get("errorCode")
    return str(code) if code else None


def _progress(seen: Seen) -> dict[str, object] | None:
    """Return the newest progress that the running attempt has reported."""
    text, ticket = seen.ticket.get("progress"), seen.ticket
    if seen.state is not State.RUNNING or not text or ticket.get("progress_of") != seen.attempt:
        return None
    try:
        progress = json.loads(str(text))
        return {"fraction": float(progress["fraction"]), "note": str(progress.get("note") or "")}
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _estimate(seen: Seen, estimate: Estimate | None) -> dict[str, object] | None:
    if estimate is None:
        return None

    def moments(p50_s: float, p90_s: float) -> dict[str, object]:
        return {
            "p50": iso(seen.now_ms + 1000 * p50_s),
            "p90": iso(seen.now_ms + 1000 * p90_s),
            "p50_s": round(p50_s, 3),
            "p90_s": round(p90_s, 3),
        }

    queued = seen.state is State.QUEUED
    return {
        "start": moments(estimate.start_p50_s, estimate.start_p90_s) if queued else None,
        "finish": moments(estimate.finish_p50_s, estimate.finish_p90_s),
    }
