"""Handlers for the console's tests: one that draws, one that writes, one that fails."""

import threading
from typing import Any

from PIL import Image

from inference_worker import Context


class Draw:
    """Draws a small picture, and reports each step."""

    concurrency = 2

    def predict(self, ctx: Context, prompt: str, steps: int = 3) -> Image.Image:
        print(f"draws {prompt}")
        for step in range(steps):
            ctx.progress((step + 1) / steps, f"step {step + 1} of {steps}")
        ctx.artifact("sketch.txt", f"A sketch of {prompt}".encode(), content_type="text/plain")
        return Image.new("RGB", (96, 64), "#f4efe6")


def write(text: str) -> dict[str, Any]:
    """Return what it was given, with a number of characters."""
    return {"text": text, "length": len(text)}


def fail(text: str) -> str:
    """Fail with an error that quotes its input."""
    raise ValueError(f"no model for {text}")


def slow(seconds: float) -> float:
    """Take this long."""
    threading.Event().wait(seconds)
    return seconds
