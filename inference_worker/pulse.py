"""The pulse of an engine's process: a byte that asks, a line of JSON that answers.

A thread of its own answers, on a socket of its own, so that neither a handler nor a full pipe can
keep it from doing so.  What can is a call into C that holds the GIL, or a process that does not
run at all.
"""

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field

from inference_worker.vitals import Vitals, measure

#: How often a pulse is felt, in seconds.
INTERVAL_S = 1.0


@dataclass(frozen=True, slots=True)
class Beat:
    """One answer: what the process takes, and the engine's own numbers."""

    vitals: Vitals = field(default_factory=Vitals)
    gauges: Mapping[str, float] = field(default_factory=dict)


class PulseThread(threading.Thread):
    """Answers for as long as the process lives.

    gauges: the engine's numbers; none until somebody sets it.
    """

    def __init__(self, end: socket.socket) -> None:
        super().__init__(name="pulse", daemon=True)
        self.gauges: Callable[[], Mapping[str, float]] = dict
        self._end = end
        end.setblocking(True)

    def run(self) -> None:
        # Any error means that the supervisor has gone, and this process goes with it.
        with contextlib.suppress(OSError):
            while self._end.recv(1):
                try:
                    gauges = {name: float(value) for name, value in self.gauges().items()}
                except Exception:
                    # A sick engine is told by its failed jobs and not by its missing numbers.
                    gauges = {}
                beat = {"vitals": asdict(measure()), "gauges": gauges}
                self._end.sendall(json.dumps(beat).encode() + b"\n")


class Pulse:
    """The other end: asks again and again, and notices when no answer comes."""

    def __init__(self, end: socket.socket) -> None:
        self.last = Beat()
        self._end = end
        end.setblocking(False)

    def close(self) -> None:
        """Give the socket back, should nobody have felt the pulse yet."""
        self._end.close()

    async def feel(self, *, silence_s: float) -> bool:
        """Return True once there was no answer for `silence_s` (0: never), False at the end."""
        reader, writer = await asyncio.open_connection(sock=self._end)
        try:
            while True:
                writer.write(b"?")
                line = await self._hear(reader, silence_s)
                if not line:
                    return line is None
                self._note(line)
                await asyncio.sleep(INTERVAL_S)
        except ConnectionError:
            return False
        finally:
            writer.transport.abort()

    async def _hear(self, reader: asyncio.StreamReader, silence_s: float) -> bytes | None:
        hearing = asyncio.ensure_future(reader.readline())
        try:
            silent_for_s = 0.0
            # Counted in steps and not by the clock: a machine or a supervisor that was itself
            # stopped for an hour has not waited for an hour.
            while not silence_s or silent_for_s < silence_s:
                step_s = min(INTERVAL_S, silence_s) if silence_s else None
                await asyncio.wait({hearing}, timeout=step_s)
                if hearing.done():
                    return hearing.result()
                silent_for_s += step_s or 0.0
            return None
        finally:
            hearing.cancel()

    def _note(self, line: bytes) -> None:
        beat = json.loads(line)
        self.last = Beat(Vitals(**beat["vitals"]), beat["gauges"])
