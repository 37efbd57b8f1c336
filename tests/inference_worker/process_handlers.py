"""Handlers that look at their process, or are not what they seem before they are called."""

import asyncio
import multiprocessing
import signal
import sqlite3
import subprocess
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any


async def turn() -> None:
    """Give the loop one turn."""
    asyncio.get_running_loop().call_soon((gone := asyncio.Event()).set)
    await gone.wait()


def square(number: int) -> int:
    return number * number


class StartsProcesses:
    """Starts other processes in the ways that there are, and ends them by signals."""

    def predict(self, how: str) -> object:
        match how:
            case "terminate":
                with subprocess.Popen(["sleep", "600"]) as child:
                    child.terminate()
                    return child.wait()
            case "interrupt":
                with subprocess.Popen(["sleep", "600"]) as child:
                    child.send_signal(signal.SIGINT)
                    return child.wait()
            case "leave":
                return subprocess.Popen(["sleep", "600"]).pid
            case "masks":
                status = subprocess.check_output(["cat", "/proc/self/status"], text=True)
                lines = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
                # The C library keeps two signals to itself: it ignores them in what it spawns.
                usable = sum(1 << (number - 1) for number in signal.valid_signals())
                return {name: int(lines[name], 16) & usable for name in ("SigIgn", "SigBlk")}
            case "own":
                return [str(signal.getsignal(number)) for number in (2, 15, 1, 3)]
            case method:
                with multiprocessing.get_context(method).Pool(2) as pool:
                    return pool.map(square, [1, 2, 3])


class NeedsMainThread:
    """Does what Python permits in the main thread only, before and during its jobs."""

    def setup(self) -> None:
        signal.signal(signal.SIGUSR1, lambda number, frame: None)
        asyncio.get_event_loop().run_until_complete(turn())
        asyncio.run(turn())
        self.database = sqlite3.connect(":memory:")

    def predict(self, data: str) -> str:
        # A connection of sqlite refuses every thread but the one that opened it.
        one = self.database.execute("select 1").fetchone()[0]
        return f"{one} {threading.current_thread() is threading.main_thread()}"


class AsyncInMainThread:
    """Its coroutines share one loop, which is the main thread's."""

    async def setup(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.loop.add_signal_handler(signal.SIGUSR1, lambda: None)

    async def predict(self, data: str) -> list[bool]:
        is_main = threading.current_thread() is threading.main_thread()
        return [is_main, self.loop is asyncio.get_running_loop()]


def fails_deep_inside() -> None:
    raise ValueError("the weights are wrong")


class FailsInSetup:
    """Its error comes from a line below its setup."""

    def setup(self) -> None:
        fails_deep_inside()

    def predict(self, data: bytes) -> bytes:
        return data


def hidden(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate as many do, so that nobody sees what kind of function it was."""

    def wrapper(*arguments: object) -> Any:
        return function(*arguments)

    return wrapper


class HiddenAsync:
    """A coroutine behind a decorator."""

    @hidden
    async def predict(self, data: bytes) -> bytes:
        if data == b"wait":
            await asyncio.Event().wait()
        await turn()
        return data.upper()


class HiddenAsyncGenerator:
    """An async generator behind a decorator."""

    @hidden
    async def predict(self, data: bytes) -> AsyncIterator[str]:
        for letter in data.decode():
            await turn()
            yield letter


class CalledAsync:
    """An async `__call__` in place of predict."""

    async def __call__(self, data: bytes) -> AsyncIterator[bytes]:
        for letter in data:
            yield b"%c" % letter
