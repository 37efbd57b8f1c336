"""Runs the probe (probe.py), and never waits for it longer than its limit."""

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

from client_sdk.leash import LEASH
from inference_worker.environment import inherited
from inference_worker.gpu.reading import Reading, read_answer, silent

#: How long a quick look may take between two jobs, in seconds.
QUICK_LIMIT_S = 0.05
#: The same while its process starts.
START_LIMIT_S = 10.0
#: How long a complete look may take; cuInit alone takes a second on a machine with many GPUs.
COMPLETE_LIMIT_S = 15.0
#: How long to wait for the end of the processes, in seconds.
CLOSE_LIMIT_S = 1.0
#: A process that has been silent for this long is replaced.
STUCK_S = 10.0

_PROBE = Path(__file__).with_name("probe.py")


class Prober:
    """Looks at the GPUs of `uuids`."""

    def __init__(self) -> None:
        self.uuids: tuple[str, ...] = ()
        self._watching: asyncio.subprocess.Process | None = None
        self._answer: asyncio.Task[bytes] | None = None
        self._asked_at = 0.0
        self._complete: asyncio.Task[Reading] | None = None
        self._next_complete: asyncio.Task[Reading] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._asking = asyncio.Lock()

    async def complete(self) -> Reading:
        """Start CUDA and NVML from the beginning, in a new process that starts after this call.

        Callers that come while one runs share the next one.
        """
        if self._next_complete is None:
            self._next_complete = asyncio.create_task(self._complete_after(self._complete))
        return await asyncio.shield(self._next_complete)

    async def quick(self) -> Reading:
        """Ask NVML for new errors and for numbers."""
        async with self._asking:
            return await self._quick()

    async def close(self) -> None:
        """End the processes; one that does not end by then is left behind."""
        self._end_watching()
        tasks = [task for task in (self._complete, self._next_complete) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._ending:
            await asyncio.wait(self._ending, timeout=CLOSE_LIMIT_S)

    async def _quick(self) -> Reading:
        loop = asyncio.get_running_loop()
        limit_s = QUICK_LIMIT_S
        if self._answer is None:
            if self._watching is None or self._watching.returncode is not None:
                limit_s = START_LIMIT_S
                try:
                    self._watching = await self._start("watch", stdin=asyncio.subprocess.PIPE)
                except OSError as error:
                    return read_answer(b"", complete=False, ended=f"cannot start: {error}")
            self._answer = asyncio.create_task(self._ask(self._watching))
            self._asked_at = loop.time()
        await asyncio.wait({self._answer}, timeout=limit_s)
        if not self._answer.done():
            if loop.time() - self._asked_at > STUCK_S:
                self._end_watching()
            return silent(limit_s, complete=False)
        line, self._answer = self._answer.result(), None
        reading = read_answer(line, complete=False, ended="ended")
        if not line or reading.cause:
            # It cannot recover; the next look starts a new one.
            self._end_watching()
        return reading

    async def _complete_after(self, before: asyncio.Task[Reading] | None) -> Reading:
        if before is not None:
            await asyncio.wait({before})
        self._complete, self._next_complete = self._next_complete, None
        try:
            process = await self._start("once", stdin=asyncio.subprocess.DEVNULL)
        except OSError as error:
            return read_answer(b"", complete=True, ended=f"cannot start: {error}")
        try:
            async with asyncio.timeout(COMPLETE_LIMIT_S):
                line, _ = await process.communicate()
        except TimeoutError:
            return silent(COMPLETE_LIMIT_S, complete=True)
        finally:
            self._end(process)
        return read_answer(line, complete=True, ended=f"ended with {process.returncode}")

    async def _ask(self, process: asyncio.subprocess.Process) -> bytes:
        assert process.stdin is not None, "started with pipes"
        assert process.stdout is not None, "started with pipes"
        with contextlib.suppress(OSError):
            process.stdin.write(b"\n")
            await process.stdin.drain()
        return await process.stdout.readline()

    def _end_watching(self) -> None:
        if self._answer is not None:
            self._answer.cancel()
            self._answer = None
        if self._watching is not None:
            self._end(self._watching)
            self._watching = None

    def _end(self, process: asyncio.subprocess.Process) -> None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        if process.stdin is not None:
            process.stdin.close()
        # Nobody waits for one that is inside a driver and does not end.
        task = asyncio.create_task(_reaped(process), name="end of a probe")
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _start(self, kind: str, *, stdin: int) -> asyncio.subprocess.Process:
        # It dies with this process.
        leash = (str(LEASH), str(os.getpid()), str(int(signal.SIGKILL)))
        python = (sys.executable, "-I", "-S")
        return await asyncio.create_subprocess_exec(
            *(*python, *leash, *python, str(_PROBE), kind, *self.uuids),
            stdin=stdin,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env=inherited(),
            start_new_session=True,
        )


async def _reaped(process: asyncio.subprocess.Process) -> None:
    await process.wait()
