"""The question in a request of OpenAI's clients: what a person has asked, without the rest."""

import json
from dataclasses import dataclass
from typing import Any

from inference_worker.engines import openai_paths
from inference_worker.engines.engine import Job


@dataclass(frozen=True, slots=True)
class Question:
    """text: never empty.  streamed: the client wants the answer in pieces."""

    text: str
    streamed: bool


def question_of(job: Job) -> Question | None:
    """Return what was asked; None for a job of another kind, and where nothing can be read."""
    if job.path not in openai_paths.TEXT:
        return None
    try:
        asked = json.loads(job.data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(asked, dict):
        return None
    text = _text_of(asked.get("prompt")) or _last_said(asked.get("messages"))
    return Question(text, streamed=asked.get("stream") is True) if text else None


def _last_said(messages: Any) -> str:
    """The text of the last message of the user, or of the last one when none is the user's."""
    listed = messages if isinstance(messages, list) else []
    said = [message for message in listed if isinstance(message, dict)]
    of_user = [message for message in said if message.get("role") == "user"]
    last = (of_user or said)[-1:]
    return _text_of(last[0].get("content")) if last else ""


def _text_of(content: Any) -> str:
    """A text, or the texts among its parts, one under the other."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = [part.get("text") if isinstance(part, dict) else part for part in parts]
    return "\n".join(text for text in texts if isinstance(text, str))
