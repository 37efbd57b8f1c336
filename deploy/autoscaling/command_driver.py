"""The driver `command`: a program of the operator's starts workers.

It is called as

    PROGRAM ARGUMENTS... SERVICE FROM TO

and with the same in PENSTOCK_SCALE_SERVICE, PENSTOCK_SCALE_FROM and PENSTOCK_SCALE_TO.  It is also
called after workers were asked to leave: then PENSTOCK_SCALE_LEAVING has them, as JSON.  They end
by themselves, so it must not stop them; it may switch off their machines once they have ended.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict
from typing import IO

from deploy.autoscaling.driver import DriverFailed, Fleet, Leaver

#: Seconds that the program has.
TIMEOUT_S = 60.0
#: Seconds that it has after SIGTERM.
TERM_GRACE_S = 5.0
#: The end of its output that an error quotes.
MOST_QUOTED_BYTES = 400
#: Output that is kept on the disk, and how often that is looked at, in seconds.
MOST_KEPT_BYTES = 1024 * 1024
LOOK_EVERY_S = 0.2


class CommandDriver:
    """Calls a program whenever the number of workers is to change."""

    def __init__(self, argv: Sequence[str], *, timeout_s: float = TIMEOUT_S) -> None:
        self._argv = tuple(argv)
        self._timeout_s = timeout_s

    async def look(self, service: str) -> Fleet:
        """Return that it cannot tell which workers run."""
        return Fleet()

    async def start(self, service: str, *, current: int, wanted: int) -> None:
        """Call the program; raises DriverFailed with its output if it fails."""
        await self._call(service, current, wanted, {})

    async def note_leaving(
        self, service: str, leaving: Sequence[Leaver], *, current: int, wanted: int
    ) -> None:
        """Call the program with those that leave."""
        leavers = json.dumps([asdict(one) for one in leaving])
        await self._call(service, current, wanted, {"PENSTOCK_SCALE_LEAVING": leavers})

    async def close(self) -> None:
        """Do nothing: it has no connections."""

    async def _call(self, service: str, current: int, wanted: int, more: Mapping[str, str]) -> None:
        env = {
            **os.environ,
            "PENSTOCK_SCALE_SERVICE": service,
            "PENSTOCK_SCALE_FROM": str(current),
            "PENSTOCK_SCALE_TO": str(wanted),
            **more,
        }
        # A file, because a pipe would stay open in a worker that the program starts.
        with tempfile.TemporaryFile() as output:
            # Each write goes to the end, also after the file was emptied.
            flags = fcntl.fcntl(output, fcntl.F_GETFL)
            fcntl.fcntl(output, fcntl.F_SETFL, flags | os.O_APPEND)
            code = await self._run([service, str(current), str(wanted)], env, output)
            if code:
                raise DriverFailed(_failure(self._argv[0], code, _end_of(output)))

    async def _run(
        self, arguments: Sequence[str], env: Mapping[str, str], output: IO[bytes]
    ) -> int:
        try:
            process = await asyncio.create_subprocess_exec(
                *self._argv,
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=env,
                # Its children end with it after the time limit.
                start_new_session=True,
            )
        except OSError as error:
            raise DriverFailed(f"cannot start {self._argv[0]}: {error}") from None
        try:
            async with asyncio.timeout(self._timeout_s), _kept_short(output):
                return await process.wait()
        except TimeoutError:
            await _end(process)
            said = _end_of(output).decode(errors="replace").strip()
            raise DriverFailed(
                f"{self._argv[0]} did not end within {self._timeout_s:g} s, and was ended"
                + (f": {said}" if said else "")
            ) from None
        except asyncio.CancelledError:
            await _end(process)
            raise


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(TERM_GRACE_S):
            await process.wait()
    # Also when the program itself has ended: what it started may ignore SIGTERM.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


@contextlib.asynccontextmanager
async def _kept_short(output: IO[bytes]) -> AsyncIterator[None]:
    """Empty the file whenever it is long: a program that prints for ever fills no disk."""

    async def watch() -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if os.fstat(output.fileno()).st_size > MOST_KEPT_BYTES:
                last_words = _end_of(output)
                os.ftruncate(output.fileno(), 0)
                os.write(output.fileno(), last_words)

    task = asyncio.create_task(watch())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _end_of(output: IO[bytes]) -> bytes:
    size = os.fstat(output.fileno()).st_size
    return os.pread(output.fileno(), MOST_QUOTED_BYTES, max(0, size - MOST_QUOTED_BYTES))


def _failure(program: str, code: int, output: bytes) -> str:
    how = f"was killed by signal {-code}" if code < 0 else f"ended with {code}"
    said = output.decode(errors="replace").strip()
    return f"{program} {how}: {said}" if said else f"{program} {how}, without output"
