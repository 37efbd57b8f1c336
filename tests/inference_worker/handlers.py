"""Handlers as users write them, for the tests of the handler engine."""

import asyncio
import ctypes
import os
import resource
import signal
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

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


class Prints:
    """Says what it does, as text and as bytes, and at once."""

    def predict(self, text: str) -> str:
        print("computing", text, flush=True)
        sys.stdout.buffer.write(b"bytes\n")
        sys.stdout.flush()
        print("computed", file=sys.stderr)
        return text


class TellsThenFails:
    """Tells how far it is, and fails once another job says `go on`."""

    concurrency = 2

    def __init__(self) -> None:
        self._told = threading.Event()

    def predict(self, text: str, ctx: Context) -> str:
        if text == "go on":
            self._told.set()
            return text
        ctx.progress(0.25, "a quarter")
        self._told.wait()
        raise BadInput(f"{text} is bad")


class Sum:
    """JSON in, JSON out; one job at once."""

    concurrency = 1

    def setup(self, ctx: Context) -> None:
        ctx.progress(0.5, "half of the model")

    def predict(self, numbers: list[float]) -> dict[str, float]:
        return {"sum": sum(numbers)}


class TwoAtOnce:
    """Its code is safe in two threads."""

    concurrency = 2

    def predict(self, data: bytes) -> bytes:
        return data


class Leaves:
    """Says when it begins and ends, and by which process."""

    def predict(self, seconds: str) -> str:
        compute(float(seconds))
        print(f"computed by {os.getpid()}", flush=True)
        return str(os.getpid())

    def teardown(self) -> None:
        print(f"torn down by {os.getpid()}", flush=True)


class HasOptions:
    """What has a default is the handler's own and not the context's place."""

    def setup(self, device: str = "cpu") -> None:
        self.device = device

    def predict(self, text: str, times: int = 2) -> str:
        return f"{self.device} {text * times}"


class TakesThree:
    """Nobody can call this."""

    def predict(self, data, ctx, temperature):  # type: ignore[no-untyped-def]
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
        self.barrier = threading.Barrier(4, timeout=60)

    def predict(self, data: bytes) -> bytes:
        self.barrier.wait()
        return data


class CannotLoad:
    """Its model is not there."""

    def setup(self) -> None:
        raise FileNotFoundError("no weights at /models/none")

    def predict(self, data: bytes) -> bytes:
        return data


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


class LoadsHalf:
    """Gets half way, and says so."""

    def setup(self, ctx: Context) -> None:
        ctx.progress(0.5, "the weights are read")
        compute(600)

    def predict(self, data: bytes) -> bytes:
        return data


class LoadsForever:
    """Never gets ready."""

    def setup(self) -> None:
        compute(600)

    def predict(self, data: bytes) -> bytes:
        return data


class Yields:
    """Counts to the number that it is given, in pieces; stops when it is closed."""

    closed = threading.Event()

    def predict(self, most: int) -> Iterator[str]:
        try:
            for number in range(most):
                compute(0.001)
                yield f"{number} "
        finally:
            self.closed.set()


class YieldsJson:
    """The same, async, with JSON."""

    async def predict(self, most: int) -> AsyncIterator[dict[str, int]]:
        for number in range(most):
            yield {"n": number}


class Batched:
    """Answers with how many were computed together; fails the whole batch for one bad input."""

    max_batch_size = 4
    batch_timeout = 0.2

    def predict_batch(self, inputs: list[str]) -> list[object]:
        if "bad" in inputs:
            raise ValueError("one is bad")
        return [ValueError(text) if text == "fails" else f"{text} {len(inputs)}" for text in inputs]


class BatchedTooFew:
    """Forgets one of each batch, and two batches can be computed at once."""

    max_batch_size = 2
    concurrency = 2

    async def predict_batch(self, inputs: list[bytes], contexts: list[Context]) -> list[str]:
        return [context.request_id for context in contexts][1:]


class Wrapped:
    """Has something before and after."""

    def preprocess(self, text: str) -> int:
        if not text.isdigit():
            raise BadInput("no number")
        return int(text)

    def predict(self, number: int, ctx: Context) -> tuple[int, str]:
        ctx.raise_if_cancelled()
        return number + 1, ctx.device

    def postprocess(self, output: tuple[int, str]) -> str:
        return f"{output[0]} on {output[1]}"


class Unwell:
    """Says that it is not well when a file of this name is there."""

    def health(self) -> bool:
        return not Path(os.environ.get("UNWELL", "/nowhere")).exists()

    def predict(self, data: bytes) -> bytes:
        return data


class Broken:
    """Fails every job at once."""

    def predict(self, data: bytes) -> bytes:
        raise OSError("the disk is gone")


class LosesDevice:
    """Its device is lost under the input `lose`; other inputs take their time."""

    def predict(self, text: str) -> str:
        if text == "lose":
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        compute(float(text))
        return text


def misbehave(text: str) -> str:
    """Do to its process what the input says."""
    match text.split():
        case ["kill"]:
            os.kill(os.getpid(), signal.SIGKILL)
        case ["allocate"]:
            # As on a machine that is full: the allocation itself fails.
            resource.setrlimit(resource.RLIMIT_AS, (1 << 32, -1))
            try:
                bytearray(1 << 34)
            finally:
                resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
        case ["stop"]:
            # A signal to the process may go to another thread, and this one return before it stops.
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
        case ["sleep", seconds]:
            compute(float(seconds))
    return text


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


def size_of_all(asked: dict[str, object]) -> dict[str, object]:
    """JSON with files in, their sizes and suffixes out."""
    found = asked["files"]
    assert isinstance(found, list)
    assert all(isinstance(one, Path) for one in found)
    return {"sizes": [one.stat().st_size for one in found], "kinds": [one.suffix for one in found]}


def reverse_bytes(data: bytes) -> bytes:
    return data[::-1]


def to_file(data: bytes, ctx: Context) -> Path:
    """Return a file of the job's folder."""
    target = ctx.folder / "made.png"
    target.write_bytes(data * 2)
    return target


def open_file(data: bytes) -> object:
    file = tempfile.TemporaryFile()  # noqa: SIM115 (the worker reads it)
    file.write(data * 2)
    return file


def secret_file(text: str) -> Path:
    """Return a file that only the supervisor may read, if it can be made to."""
    return Path(text)


def typed_files(image: Path, sound: bytes, prompt: str = "") -> dict[str, object]:
    """Files by annotation: a path stays where it was fetched, bytes are its content."""
    return {"image": image.suffix, "bytes": image.stat().st_size, "sound": sound.decode()}


def reverse_part(data: bytes, ctx: Context) -> Path:
    """A result of two megabytes at most, as a file."""
    target = ctx.folder / "part.bin"
    target.write_bytes(data[::-1][:2_000_000])
    return target
