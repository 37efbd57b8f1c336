"""The heartbeat of an engine's process: the supervisor sends a byte, the process replies with JSON.

A separate thread replies, over a separate socket, so that neither a handler nor a full pipe can
delay it.  Only a call into C that holds the GIL, or a process that does not run at all, can.
"""

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field

from inference_worker.resource_usage import ResourceUsage, measure

#: The time between two heartbeats, in seconds.
INTERVAL_S = 1.0


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """One reply: the resource use of the process, and the engine's own numbers."""

    usage: ResourceUsage = field(default_factory=ResourceUsage)
    gauges: Mapping[str, float] = field(default_factory=dict)


class HeartbeatThread(threading.Thread):
    """Replies as long as the process lives.

    gauges: returns the engine's numbers; empty until the engine is loaded.
    """

    def __init__(self, end: socket.socket) -> None:
        super().__init__(name="heartbeat", daemon=True)
        self.gauges: Callable[[], Mapping[str, float]] = dict
        self._end = end
        end.setblocking(True)

    def run(self) -> None:
        # Any error means that the supervisor has ended, and this process ends with it.
        with contextlib.suppress(OSError):
            while self._end.recv(1):
                try:
                    gauges = {name: float(value) for name, value in self.gauges().items()}
                except Exception:
                    # A sick engine shows in its failed jobs; missing numbers need no report.
                    gauges = {}
                beat = {"usage": asdict(measure()), "gauges": gauges}
                self._end.sendall(json.dumps(beat).encode() + b"\n")


class HeartbeatMonitor:
    """The supervisor's end: asks regularly, and notices when no reply arrives."""

    def __init__(self, end: socket.socket) -> None:
        self.last = Heartbeat()
        self._end = end
        end.setblocking(False)

    def close(self) -> None:
        """Close the socket, if `watch` was never called."""
        self._end.close()

    async def watch(self, *, silence_s: float) -> bool:
        """Return True after a silence of `silence_s` (0: never), False if the process has ended."""
        reader, writer = await asyncio.open_connection(sock=self._end)
        try:
            while True:
                writer.write(b"?")
                line = await self._read_line(reader, silence_s)
                if not line:
                    return line is None
                self._record(line)
                await asyncio.sleep(INTERVAL_S)
        except ConnectionError:
            return False
        finally:
            writer.transport.abort()

    async def _read_line(self, reader: asyncio.StreamReader, silence_s: float) -> bytes | None:
        reading = asyncio.ensure_future(reader.readline())
        try:
            silent_for_s = 0.0
            # Counted in steps and not by the clock: if the machine or the supervisor itself was
            # suspended for an hour, the engine was not silent for an hour.
            while not silence_s or silent_for_s < silence_s:
                step_s = min(INTERVAL_S, silence_s) if silence_s else None
                await asyncio.wait({reading}, timeout=step_s)
                if reading.done():
                    return reading.result()
                silent_for_s += step_s or 0.0
            return None
        finally:
            reading.cancel()

    def _record(self, line: bytes) -> None:
        beat = json.loads(line)
        self.last = Heartbeat(ResourceUsage(**beat["usage"]), beat["gauges"])
