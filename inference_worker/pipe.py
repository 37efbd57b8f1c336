"""What the supervisor and its engine's process say to each other, and how it is framed.

    supervisor -> engine   Run  Cancel  AskHealth  Stop
    engine -> supervisor   Loading*  then  Ready | Broken;  after Ready: Happened  HealthIs

A message is its length (four bytes, big-endian) and its pickle.  Both ends are one program on
one machine, joined by a socket pair that nobody else can open, which is what makes pickle safe.
"""

import asyncio
import pickle
import socket
from dataclasses import dataclass
from typing import Self

from inference_worker.engines.engine import Event, Health, Job, Progress

_LENGTH_BYTES = 4


@dataclass(frozen=True, slots=True)
class Run:
    """Begin this job; `number` names it on the pipe."""

    number: int
    job: Job


@dataclass(frozen=True, slots=True)
class Cancel:
    """Nobody wants this job's result any more; nothing is answered for it."""

    number: int


@dataclass(frozen=True, slots=True)
class AskHealth:
    """Answer HealthIs."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop the engine and exit."""

    grace_s: float


@dataclass(frozen=True, slots=True)
class Loading:
    """How far the loading is."""

    progress: Progress


@dataclass(frozen=True, slots=True)
class Ready:
    """The engine is loaded and takes this many jobs at once."""

    capacity: int


@dataclass(frozen=True, slots=True)
class Broken:
    """The engine cannot be loaded; the process exits."""

    cause: str


@dataclass(frozen=True, slots=True)
class Happened:
    """An event of the job with this number; Finished and Failed are the last ones."""

    number: int
    event: Event


@dataclass(frozen=True, slots=True)
class HealthIs:
    """The answer to AskHealth."""

    health: Health


ToEngine = Run | Cancel | AskHealth | Stop
FromEngine = Loading | Ready | Broken | Happened | HealthIs


class Pipe:
    """One end: sends messages and receives the other end's, in order."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, end: socket.socket) -> Self:
        """Take over one end of a socket pair."""
        end.setblocking(False)
        return cls(*await asyncio.open_connection(sock=end))

    def send(self, message: ToEngine | FromEngine) -> None:
        """Send without waiting; to a closed pipe it is lost, which the reader is told by its end.

        What is sent is bounded by the window and not by the pipe, so there is nothing to wait for.
        """
        if self._writer.is_closing():
            return
        data = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
        self._writer.write(len(data).to_bytes(_LENGTH_BYTES) + data)

    async def receive(self) -> ToEngine | FromEngine | None:
        """Return the next message, or None when the other end is gone."""
        try:
            head = await self._reader.readexactly(_LENGTH_BYTES)
            data = await self._reader.readexactly(int.from_bytes(head))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        message: ToEngine | FromEngine = pickle.loads(data)
        return message

    async def close(self) -> None:
        """Send what is still unsent and close; the other end receives None."""
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except ConnectionError:
            # The other end went first.
            return

    def abort(self) -> None:
        """Close without sending what is unsent."""
        self._writer.transport.abort()
