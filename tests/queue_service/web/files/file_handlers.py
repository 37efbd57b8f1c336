"""A handler with a file among its inputs, which also takes requests of OpenAI's clients."""

from pathlib import Path
from typing import Any, TypedDict


class Asked(TypedDict):
    """What a job sends; further keys are allowed."""

    image: Path


def measure(asked: Asked) -> dict[str, Any]:
    """Return what arrived."""
    return {"suffix": asked["image"].suffix, "bytes": len(asked["image"].read_bytes())}
