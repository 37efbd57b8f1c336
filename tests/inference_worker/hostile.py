"""Handlers as no user should write them, and some will."""

import asyncio
import functools
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from inference_worker import BadInput, Context, Retryable
from tests.inference_worker.handlers import compute


class Text(bytes):
    """Bytes, and yet of a class that only this module knows."""


class Fraction(float):
    """A number, and yet of a class that only this module knows."""


class Unspeakable(Exception):
    """Fails even at saying what is wrong."""

    def __str__(self) -> str:
        raise ValueError("no words")


class UnspeakableInput(BadInput):
    """The same, of an input."""

    def __str__(self) -> str:
        raise ValueError("no words")


class Array:
    """Like numpy's arrays and numbers for code that expects plain values."""

    def tolist(self) -> list[float]:
        return [1.5, 2.0]


def sync(text: str, ctx: Context) -> object:
    """Do what the input says, in a thread."""
    match text:
        case "exit":
            sys.exit("no licence")
        case "unspeakable":
            raise Unspeakable
        case "unspeakable input":
            raise UnspeakableInput
        case "number":
            raise Retryable("busy", code=503)  # type: ignore[arg-type]
        case "file name":
            raise FileNotFoundError(os.fsdecode(b"/models/\xff\xfe"))
        case "own bytes":
            return Text(b"mine")
        case "array":
            return {"scores": Array()}
        case "deep":
            nested: list[object] = []
            for _ in range(100_000):
                nested = [nested]
            return nested
        case "own progress":
            ctx.progress(Fraction(0.5), Unspeakable)  # type: ignore[arg-type]
    return text


def acts(text: str) -> str:
    """Do what the input says to its process."""
    match text:
        case "garbage":
            os.write(1, bytes(range(256)))
            sys.stdout.buffer.write(b"\xff\x00\x1b[2J")
        case "close":
            os.closerange(3, 4096)
        case "fork":
            if not os.fork():
                compute(600)
                os._exit(0)
        case "child":
            return str(subprocess.Popen(["sleep", "600"]).pid)
    return text


async def exits(text: str) -> str:
    """Do the same on the loop."""
    match text:
        case "exit":
            sys.exit("no licence")
        case "interrupt":
            raise KeyboardInterrupt
        case "cancelled":
            future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
            future.cancel()
            return await future
    return text


async def _upper(text: str) -> str:
    return text.upper()


def _hides(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        return function(*arguments)

    return call


@_hides
async def hidden(text: str) -> str:
    """Async behind a decorator that does not look like it."""
    if text == "exit":
        sys.exit("no licence")
    return await _upper(text)


class NeverWaits:
    """Yields as fast as it can, for ever, on the loop."""

    async def predict(self, text: str) -> AsyncIterator[None]:
        while text == "go":
            yield None


class NeverEnds:
    """Yields a result that no sink could take."""

    def predict(self, text: str) -> Iterator[bytes]:
        while True:
            yield bytes(1000)


class BatchOf:
    """Gives something else than a list of outputs."""

    max_batch_size = 2

    def predict_batch(self, inputs: list[str]) -> object:
        match inputs[0]:
            case "text":
                return "ab"[: len(inputs)]
            case "names":
                return dict.fromkeys(inputs, 1)
            case "nothing":
                return None
            case "endless":
                return iter(lambda: 1, 2)
            case "exit":
                sys.exit("no licence")
        return iter(inputs)


class ExitsInSetup:
    """Ends a program of its own in that way."""

    def setup(self) -> None:
        sys.exit("no licence")

    def predict(self, data: bytes) -> bytes:
        return data
