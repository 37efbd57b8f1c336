"""A job as OpenAI's API shows a video.  Pure.

The id of a video names its job and its service: `video_{job}_{service}`.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

from client_sdk.wire import names
from queue_service.store.ticket import Seen, State
from queue_service.web.openai.media_asked import MediaAsked

Json = dict[str, Any]

#: As much of a prompt is shown, and of each other text, in characters: tickets stay small.
MAX_PROMPT, MAX_TEXT = 1000, 256
_ID = re.compile(r"video_([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})_(.{1,255})")
_STATUSES = {
    State.QUEUED: "queued",
    State.RUNNING: "in_progress",
    State.SUCCEEDED: "completed",
}
_KIND = "video"
#: The list that has the videos, in the store.
LIST = "video"


@dataclass(frozen=True, slots=True)
class VideoId:
    """A job and its service."""

    request_id: str
    service: str

    def __str__(self) -> str:
        return f"video_{self.request_id}_{self.service}"


def read_id(text: str) -> VideoId | None:
    """Return what an id names; None if it is no id of a video."""
    found = _ID.fullmatch(text)
    return VideoId(found[1], found[2]) if found else None


def about_of(asked: MediaAsked) -> str:
    """Return what a ticket keeps of a request."""
    about = {
        "kind": _KIND,
        "model": asked.model[:MAX_TEXT],
        "prompt": asked.prompt[:MAX_PROMPT],
        "seconds": asked.seconds[:MAX_TEXT],
        "size": asked.size[:MAX_TEXT],
    }
    return json.dumps(about)


def is_video(seen: Seen) -> bool:
    """Return whether a job is a video that was not deleted."""
    # A job that runs is deleted at its end; purge_ticket.lua notes that so.
    is_deleted = (seen.ticket.get("keep_ms"), seen.ticket.get("told_ms")) == (1, 0)
    return _about(seen).get("kind") == _KIND and not is_deleted


def shown(service: str, seen: Seen) -> Json:
    """Return a video as an object of OpenAI's API."""
    about, ended_at = _about(seen), int(seen.ticket.get("ended_at", 0))
    keep_ms = int(seen.ticket.get("keep_ms", 0))
    status, error = _status(seen)
    is_done = status == "completed"
    return {
        "id": str(VideoId(seen.id, service)),
        "object": "video",
        "model": about.get("model", service),
        "status": status,
        "progress": 100 if is_done else _percent(seen),
        "created_at": (int(seen.ticket.get("put_at", 0)) or seen.stored_at_ms) // 1000,
        "completed_at": ended_at // 1000 if is_done else None,
        "expires_at": (ended_at + keep_ms) // 1000 if is_done and keep_ms else None,
        "prompt": about.get("prompt") or None,
        "seconds": about.get("seconds", ""),
        "size": about.get("size", ""),
        "remixed_from_video_id": None,
        "error": error,
    }


def _status(seen: Seen) -> tuple[str, Json | None]:
    if seen.state is State.SUCCEEDED and _is_json(seen):
        sentence = "expected a video from the engine, got JSON"
        return "failed", {"code": "BAD_ANSWER", "message": sentence}
    if seen.state in _STATUSES:
        return _STATUSES[seen.state], None
    failure = seen.failure
    code = failure.code if failure else str(seen.ticket.get("code") or seen.state)
    sentence = failure.sentence if failure else ""
    return "failed", {"code": code, "message": sentence or f"the video was {seen.state}"}


def _is_json(seen: Seen) -> bool:
    return seen.result_tags.get(names.CONTENT_TYPE_TAG, "").startswith(names.JSON)


def _percent(seen: Seen) -> int:
    text = seen.ticket.get("progress")
    if seen.state is not State.RUNNING or seen.ticket.get("progress_of") != seen.attempt:
        return 0
    try:
        # The result is only there when the job has ended.
        return min(99, max(0, int(100 * float(json.loads(str(text))["fraction"]))))
    except (ValueError, KeyError, TypeError, OverflowError):
        return 0


def _about(seen: Seen) -> Json:
    try:
        about = json.loads(str(seen.ticket.get("about") or "{}"))
    except ValueError:
        return {}
    return about if isinstance(about, dict) else {}
