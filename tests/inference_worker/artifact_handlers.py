"""Handlers that add artifacts."""

import asyncio
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
from PIL import Image

from inference_worker import Audio, Context, File

FRAME = random.Random(7).randbytes(100_000)


class Frames:
    """Adds one of each kind, and returns how many."""

    def predict(self, text: str, ctx: Context) -> str:
        ctx.artifact("bytes.bin", FRAME)
        path = ctx.folder / "again.txt"
        for number in range(3):
            path.write_text(f"frame {number}")
            ctx.artifact(f"frame-{number}.txt", path)
        with path.open("rb") as opened:
            ctx.artifact("opened.txt", opened)
        ctx.artifact("picture", Image.new("RGB", (4, 4), "red"))
        ctx.artifact("sound.wav", Audio(numpy.zeros(160, "float32"), 16_000))
        ctx.artifact("page.html", File(b"<b>hello</b>", "text/html"))
        ctx.artifact("typed.dat", b"{}", "application/json")
        ctx.artifact("bytes.bin", FRAME[::-1])
        return "9"


async def added_by_a_coroutine(text: str, ctx: Context) -> None:
    """Has no result."""
    ctx.artifact("only.txt", text.encode())
    await asyncio.to_thread(bool)


def added_by_a_generator(text: str, ctx: Context) -> Iterator[str]:
    """Adds between the pieces of its output."""
    for number, word in enumerate(text.split()):
        yield word
        ctx.artifact(f"{number}.txt", word.encode())


def previews(text: str, ctx: Context) -> str:
    """Replaces its one artifact again and again."""
    for number in range(50):
        ctx.artifact("preview.txt", f"{text} {number}".encode())
    return "done"


def bad_artifact(asked: dict[str, Any], ctx: Context) -> str:
    """Add what a job asks for; it is not allowed."""
    content: Any = {"bytes": b"x", "folder": Path("/"), "text": Path("/none"), "number": 3}[
        asked.get("content", "bytes")
    ]
    try:
        ctx.artifact(asked["name"], content, asked.get("type"))
    except (ValueError, TypeError, OSError) as error:
        return f"{type(error).__name__}: {error}"
    return "added"


def many(asked: dict[str, int], ctx: Context) -> str:
    """Add this number, each of this many bytes."""
    try:
        for number in range(asked["count"]):
            ctx.artifact(f"{number}", bytes(asked["bytes"]))
    except ValueError as error:
        return str(error)
    return "added"


def until_killed(text: str, ctx: Context) -> str:
    """Say which attempt it is; the first one never ends."""
    ctx.artifact(f"attempt-{ctx.attempt}.txt", b"x" * 100_000)
    ctx.artifact("newest.txt", str(ctx.attempt).encode())
    while ctx.attempt == 1:
        threading.Event().wait(0.01)
    return text


def fails_first(text: str, ctx: Context) -> str:
    """Add something, and fail."""
    if ctx.attempt == 1:
        ctx.artifact("of-the-first.txt", b"x")
        raise RuntimeError("again")
    return text
