"""Handlers as users write them, for the tests of the handler engine."""

import asyncio
import ctypes
import os
import threading
from typing import Any

from inference_worker import BadInput, Context, Retryable


def compute(seconds: float) -> None:
    """Take that long, as a kernel on a device does: without the GIL."""
    threading.Event().wait(seconds)


class Upper:
    """Text in, text out; loaded in setup."""

    def setup(self) -> None:
        self.suffix = "!"

    def predict(self, text: str) -> str:
        return text.upper() + self.suffix


class Sum:
    """JSON in, JSON out; one job at once."""

    concurrency = 1

    def setup(self, ctx: Context) -> None:
        ctx.progress(0.5, "half of the model")

    def predict(self, numbers: list[float]) -> dict[str, float]:
        return {"sum": sum(numbers)}


class HasOptions:
    """What has a default is the handler's own and not the context's place."""

    def setup(self, device: str = "cpu") -> None:
        self.device = device

    def predict(self, text: str, times: int = 2) -> str:
        return f"{self.device} {text * times}"


class TakesThree:
    """Nobody can call this."""

    def predict(self, data: bytes, ctx: Context, temperature: float) -> bytes:
        return data


class DeclaredJson:
    """The class says what it takes; nothing is annotated."""

    input_type = "json"

    def predict(self, value):  # type: ignore[no-untyped-def]
        return [value]


class AsyncSlow:
    """Waits on the loop, and notes when it is cancelled."""

    cancelled = 0

    async def setup(self) -> None:
        self.ready = True

    async def predict(self, data: bytes) -> bytes:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            type(self).cancelled += 1
            raise
        return data


class TellsContext:
    """Returns what the context says."""

    def predict(self, data: bytes, ctx: Context) -> dict[str, object]:
        ctx.progress(0.25, "a quarter")
        return {
            "request_id": ctx.request_id,
            "attempt": ctx.attempt,
            "tags": dict(ctx.tags),
            "path": ctx.path,
        }


class WaitsUntilCancelled:
    """A sync handler that stops when nobody wants its result."""

    stopped = threading.Event()

    def predict(self, data: bytes, ctx: Context) -> None:
        while not ctx.is_cancelled():
            compute(0.01)
        self.stopped.set()


class ComesTogether:
    """Returns only when four are inside at once."""

    def setup(self) -> None:
        self.barrier = threading.Barrier(4, timeout=5)

    def predict(self, data: bytes) -> bytes:
        self.barrier.wait()
        return data


class CannotLoad:
    """Its model is not there."""

    def setup(self) -> None:
        raise FileNotFoundError("no weights at /models/none")


class DiesWhileLoading:
    """Ends its whole process in setup."""

    def setup(self) -> None:
        os._exit(7)

    def predict(self, data: bytes) -> bytes:
        return data


class DiesOnce:
    """The first to see the file of this name missing makes it and dies."""

    def predict(self, marker: str) -> str:
        try:
            os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return "answered by the second"
        os._exit(9)


class LoadsForever:
    """Never gets ready."""

    def setup(self) -> None:
        compute(600)

    def predict(self, data: bytes) -> bytes:
        return data


class Yields:
    """A generator, which this contract does not take."""

    def predict(self, data: bytes) -> Any:
        yield data


def obey(data: bytes) -> object:
    """Do what the input says; a bare function is a handler too."""
    word, _, rest = data.decode().partition(" ")
    match word:
        case "pid":
            return str(os.getpid())
        case "bad":
            raise BadInput("a number is missing")
        case "busy":
            raise Retryable("the device is busy", code="503")
        case "raise":
            raise ValueError("cannot compute\n" + rest)
        case "set":
            return {1, 2}  # which is no JSON
        case "none":
            return None
        case "die":
            os._exit(3)
        case "sleep":
            compute(float(rest))
            return data
        case "hold":
            # A call into C that keeps the GIL: nothing of Python runs in this process meanwhile.
            # The moment before it lets the engine say that the job has started.
            compute(0.1)
            ctypes.PyDLL(None).usleep(int(float(rest) * 1_000_000))
            return data
        case _:
            return bytearray(data)
