"""The driver `command`: a program of the operator's starts workers.

It is called as

    PROGRAM ARGUMENTS... SERVICE FROM TO

and with the same in PENSTOCK_SCALE_SERVICE, PENSTOCK_SCALE_FROM and PENSTOCK_SCALE_TO.  It is also
called after workers were asked to leave: then PENSTOCK_SCALE_LEAVING has them, as JSON.  They end
by themselves, so it must not stop them; it may switch off their machines once they have ended.
"""

import asyncio
import contextlib
import json
import os
import signal
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import IO

from deploy.autoscaling.driver import DriverFailed, Fleet, Leaver

#: Seconds that the program has.
TIMEOUT_S = 60.0
#: Seconds that it has after SIGTERM.
TERM_GRACE_S = 5.0
#: The end of its output that an error quotes.
MOST_QUOTED_BYTES = 400


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
            code = await self._run([service, str(current), str(wanted)], env, output)
            if code:
                output.seek(max(0, output.tell() - MOST_QUOTED_BYTES))
                raise DriverFailed(_failure(self._argv[0], code, output.read()))

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
            async with asyncio.timeout(self._timeout_s):
                return await process.wait()
        except TimeoutError:
            await _end(process)
            raise DriverFailed(
                f"{self._argv[0]} did not end within {self._timeout_s:g} s, and was ended"
            ) from None
        except asyncio.CancelledError:
            await _end(process)
            raise


async def _end(process: asyncio.subprocess.Process) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TERM_GRACE_S):
                await process.wait()
                return


def _failure(program: str, code: int, output: bytes) -> str:
    how = f"was killed by signal {-code}" if code < 0 else f"ended with {code}"
    said = output.decode(errors="replace").strip()
    return f"{program} {how}: {said}" if said else f"{program} {how}, without output"
