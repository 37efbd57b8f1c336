"""Jobs that come from the OpenAI API: their paths, and the question in a request."""

import json
from dataclasses import dataclass
from typing import Any

from client_sdk.wire import media
from inference_worker.engines.engine import Job
from inference_worker.engines.failures import BadInput

#: Paths of jobs that expect text.
TEXT = frozenset({"v1/chat/completions", "v1/completions"})
#: Paths of jobs that expect vectors.
VECTORS = frozenset({"v1/embeddings"})
#: Paths of all jobs of the OpenAI API.
PATHS = TEXT | VECTORS | media.PATHS


def refuse_text(path: str) -> None:
    """Raise BadInput for a job that expects text, in an engine that computes embeddings."""
    if path in TEXT | media.PATHS:
        raise BadInput(
            f"this service makes embeddings and no {_made_by(path)}: expected /v1/embeddings, "
            f"got /{path}"
        )


def refuse_vectors(path: str) -> None:
    """Raise BadInput for a job that expects vectors, in an engine that generates text."""
    if path in VECTORS | media.PATHS:
        raise BadInput(
            f"this service writes text and makes no {_made_by(path)}: expected "
            f"/v1/chat/completions or /v1/completions, got /{path}"
        )


def _made_by(path: str) -> str:
    if path in TEXT:
        return "text"
    return "embeddings" if path in VECTORS else "pictures, sounds or videos, and reads none"


@dataclass(frozen=True, slots=True)
class Question:
    """text: never empty.  streamed: the client wants the answer in pieces."""

    text: str
    streamed: bool


def question_of(job: Job) -> Question | None:
    """Return the user's question; None if this is another kind of job or has no readable text."""
    if job.path not in TEXT:
        return None
    try:
        asked = json.loads(job.data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(asked, dict):
        return None
    text = _text_of(asked.get("prompt")) or _last_message(asked.get("messages"))
    return Question(text, streamed=asked.get("stream") is True) if text else None


def _last_message(messages: Any) -> str:
    """The text of the user's last message, or of the last message of any role."""
    listed = messages if isinstance(messages, list) else []
    valid = [message for message in listed if isinstance(message, dict)]
    of_user = [message for message in valid if message.get("role") == "user"]
    last = (of_user or valid)[-1:]
    return _text_of(last[0].get("content")) if last else ""


def _text_of(content: Any) -> str:
    """A text, or the texts among its parts, one per line."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = [part.get("text") if isinstance(part, dict) else part for part in parts]
    return "\n".join(text for text in texts if isinstance(text, str))
