"""Handlers that print, log and fail."""

import asyncio
import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextvars import copy_context
from typing import Any

from inference_worker import BadInput, Context

log = logging.getLogger(__name__)

_both = threading.Barrier(2, timeout=60)
_arrived: list[asyncio.Event] = []


def _say(name: str, ctx: Context, step: int) -> None:
    print(f"{name} prints {step}")
    print(f"{name} warns {step}", file=sys.stderr)
    log.info("%s logs %d", name, step)
    ctx.log.warning("%s tells %d", name, step)


class InThreads:
    """Two jobs at once, which take turns line by line."""

    concurrency = 2

    def predict(self, name: str, ctx: Context) -> str:
        for step in range(20):
            _both.wait()
            _say(name, ctx, step)
        raise BadInput(f"{name} has failed")


class InCoroutines:
    """The same on one event loop."""

    concurrency = 2

    async def predict(self, name: str, ctx: Context) -> str:
        _arrived.append(asyncio.Event())
        if len(_arrived) == 2:
            for event in _arrived:
                event.set()
        await _arrived[len(_arrived) - 1].wait() if len(_arrived) == 2 else None
        await _arrived[0].wait()
        for step in range(20):
            _say(name, ctx, step)
            await asyncio.to_thread(print, f"{name} prints in a thread {step}")
        raise BadInput(f"{name} has failed")


def everything(text: str, ctx: Context) -> Iterator[str]:
    """Prints in every way."""
    print("one", "two", end="")
    print(" three")
    sys.stdout.write("a bar 0 %\ra bar 50 %\ra bar 100 %\n")
    print("unfinished", end="", file=sys.stderr)
    yield "a"
    try:
        raise KeyError(text)
    except KeyError:
        log.exception("it has raised")
    log.debug("too quiet")

    def aside() -> None:
        ctx.log.error("told in a thread")
        print("printed in a thread of its own")

    def beside() -> None:
        print("printed in a thread with the context")

    for thread in (
        threading.Thread(target=aside),
        threading.Thread(target=copy_context().run, args=(beside,)),
    ):
        thread.start()
        thread.join()
    yield "b"


def fails(text: str) -> str:
    """Raises, from a function."""
    print("before")
    return _deeper(text)


def _deeper(text: str) -> str:
    raise ValueError(f"bad {text}")


def hangs(text: str) -> str:
    """Prints the id of its process, and runs until that is killed."""
    print(f"running in {os.getpid()}")
    threading.Event().wait()
    return text


async def waits(text: str) -> str:
    """Prints, and runs until it is canceled."""
    print("waiting")
    await asyncio.Event().wait()
    return text


async def in_turn(text: str, ctx: Context) -> str:
    """Runs until it is canceled, or fails."""
    if text == "fail":
        raise BadInput("as wanted")
    ctx.progress(0.5, "half")
    await asyncio.Event().wait()
    return text


def much(text: str) -> str:
    """Prints a lot, in lines of 100 bytes."""
    for number in range(int(text)):
        print(f"{number:099d}")
    return "printed"


class Batched:
    """Computes jobs together."""

    batch_size = 2
    batch_timeout_s = 60.0

    def predict_batch(self, texts: list[str], contexts: list[Context]) -> list[Any]:
        print("shared by all")
        for text, ctx in zip(texts, contexts, strict=True):
            ctx.log.info("about %s", text)
        return texts
