"""Services for the page: one that makes pictures, one that reads sounds, one that has it all."""

import threading
from collections.abc import Iterator
from datetime import date
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy
from PIL import Image, ImageDraw
from pydantic import BaseModel, Field

from inference_worker import Audio, Context


class Painter:
    """Paints what you describe, in a few steps."""

    concurrency = 1

    def predict(
        self,
        ctx: Context,
        prompt: Annotated[str, Field(max_length=2000, description="What to paint.")],
        image: Annotated[
            Path | None, Field(description="A picture to begin with, instead of noise.")
        ] = None,
        *,
        steps: Annotated[int, Field(ge=1, le=50, description="More take longer.")] = 4,
        size: Literal["small", "medium", "large"] = "medium",
        hq: Annotated[bool, Field(description="Paint with more detail.")] = False,
    ) -> Image.Image:
        if prompt == "fail":
            raise ValueError("there is no paint left")
        side = {"small": 96, "medium": 192, "large": 384}[size]
        picture = Image.new("RGB", (side * 4 // 3, side), "#f4efe6")
        for step in range(steps):
            _stroke(picture, step, steps)
            ctx.progress((step + 1) / steps, f"step {step + 1} of {steps}")
            ctx.artifact(f"step-{step + 1}.png", picture)
            threading.Event().wait(0.15)
        return picture


def _stroke(picture: Image.Image, step: int, steps: int) -> None:
    draw = ImageDraw.Draw(picture)
    width, height = picture.size
    level = height * (step + 1) // (steps + 1)
    colours = ["#9ad1d4", "#5aa9a5", "#2f7f86", "#e6b655", "#d9713f"]
    draw.ellipse((width * 3 // 5, height // 8, width * 4 // 5, height // 8 + width // 5), "#e6b655")
    draw.polygon(
        [
            *((0, height), (0, level), (width // 3, level - height // 6)),
            *((width, level + 12), (width, height)),
        ],
        colours[step % len(colours)],
    )


def listen(
    sound: numpy.ndarray,
    language: Literal["en", "de", "fr", "es", "it", "pt", "nl", "zh"] = "en",
    gain: Annotated[float, Field(gt=0, le=4, description="How much louder it becomes.")] = 2.0,
) -> Audio:
    """Makes a sound louder."""
    return Audio(numpy.clip(sound * gain, -1, 1), 16_000)


class Mood(Enum):
    """How it sounds."""

    CALM = "calm"
    LOUD = "loud"


class Person(BaseModel):
    """Who it is about."""

    name: Annotated[str, Field(max_length=40, description="As they write it.")]
    born: date | None = None
    tags: Annotated[list[str], Field(max_length=4)] = []


def describe(
    person: Person,
    scores: Annotated[list[float], Field(description="From the last rounds.")],
    *,
    mood: Mood = Mood.CALM,
    seed: int | None = None,
    verbose: bool | None = None,
    weights: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Return everything that arrived, and more, as JSON."""
    return {
        "person": person.model_dump(mode="json"),
        "scores": scores,
        "mood": mood.value,
        "seed": seed,
        "verbose": verbose,
        "weights": weights,
        "markup": "<img src=x onerror=alert(1)>",
        "log": [{"at": number, "level": "info", "ok": True} for number in range(40)],
        "long": "word " * 400,
    }


def words(text: str) -> Iterator[str]:
    """Repeats what you write, word by word, and waits when you ask for it."""
    if text.startswith("wait"):
        threading.Event().wait()
    for word in text.split():
        threading.Event().wait(0.05)
        yield word + " "


class Plain:
    """Declares nothing."""

    def predict(self, data: bytes):  # type: ignore[no-untyped-def]
        return data[::-1]
