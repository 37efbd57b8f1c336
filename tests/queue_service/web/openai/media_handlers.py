"""Models of pictures and sounds without a model."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy
from PIL import Image
from pydantic import Field

from penstock.worker import Audio, BadInput, Context, File

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0)}


class Painter:
    """Paints one colour; edits paint it over the first picture where the mask is transparent."""

    def predict(
        self,
        *,
        prompt: str,
        image: list[Path] | Path | None = None,
        mask: Path | None = None,
        n: int = 1,
        size: Annotated[str, Field(pattern=r"^\d{1,4}x\d{1,4}$")] = "8x8",
        steps: int = 1,
        ctx: Context,
    ) -> list[Image.Image]:
        if prompt not in COLOURS:
            raise BadInput(f"prompt: expected one of {', '.join(COLOURS)}, got {prompt}")
        width, height = map(int, size.split("x"))
        assert steps in (1, 3)
        picture = Image.new("RGBA", (width, height), COLOURS[prompt])
        if ctx.path == "v1/images/edits":
            first = image[0] if isinstance(image, list) else image
            assert first is not None
            picture = Image.open(first).convert("RGBA")
            fresh = Image.new("RGBA", picture.size, COLOURS[prompt])
            holes = Image.open(mask).convert("RGBA").getchannel("A") if mask else None
            picture = Image.composite(picture, fresh, holes) if holes else fresh
        return [picture] * n


class Scribe:
    """Says what it got; `stuck` waits until it is cancelled."""

    concurrency = 2

    def predict(
        self,
        file: Path,
        language: str = "",
        prompt: str = "",
        temperature: float = 0,
        *,
        ctx: Context,
    ) -> dict[str, Any]:
        if prompt == "stuck":
            Path(language, "began").touch()
            while not ctx.is_cancelled():
                threading.Event().wait(0.02)
            Path(language, "cancelled").touch()
        sizes = f"{ctx.path} {file.suffix} {file.stat().st_size} {language} {temperature:g}"
        segments = [
            {"start": 0.0, "end": 1.25, "text": " one"},
            {"start": 3661.5, "end": 3662, "text": " two"},
        ]
        return {"text": sizes, "segments": segments, "language": "en"}


class Teller:
    """A text in pieces."""

    def predict(self, asked: dict[str, Any]) -> Iterator[str]:
        assert isinstance(asked["file"], Path)
        yield "one "
        yield "two "
        yield "three"


def hear(sound: numpy.ndarray) -> str:
    """Takes a sound and nothing else."""
    return f"{len(sound)} samples"


class Speaker:
    """A tone whose length is that of the text."""

    def predict(
        self, text: str, voice: Literal["low", "high"] = "low", speed: float = 1.0
    ) -> Audio | File:
        if text == "mp3":
            return File(b"ID3 sound", "audio/mpeg")
        tone = numpy.full(len(text) * 10, 0.5 if voice == "low" else 0.9, numpy.float32)
        return Audio(tone[:: int(speed)], 16_000)


class Filmer:
    """A film of as many bytes as it has pixels; it waits for the file that the prompt names."""

    concurrency = 2

    def predict(
        self,
        prompt: str,
        seconds: Literal["4", "8"] = "4",
        size: str = "10x10",
        input_reference: Path | None = None,
        *,
        ctx: Context,
    ) -> Path:
        ctx.progress(0.25)
        while prompt.startswith("/") and not Path(prompt).exists() and not ctx.is_cancelled():
            threading.Event().wait(0.02)
        if prompt == "fail":
            raise BadInput("prompt: expected another one")
        width, height = map(int, size.split("x"))
        film = ctx.folder / "film.mp4"
        begin = input_reference.read_bytes() if input_reference else b"film"
        film.write_bytes((begin + seconds.encode() + bytes(width * height))[: width * height])
        return film
