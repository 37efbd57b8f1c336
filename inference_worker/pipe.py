"""What the supervisor and its engine's process say to each other, and how it is framed.

    supervisor -> engine   Run  Cancel  AskHealth  Stop
    engine -> supervisor   Loading*  then  Ready | Broken;  after Ready: Happened  Ended  HealthIs
                           and Ready again when the engine takes another number of jobs

A message is its length (four bytes, big-endian) and its pickle, of which only messages and plain
values are read: the engine runs code that may go wrong, and the supervisor has the worker's token.

A large payload does not go through the pipe, where it would be copied at every step: it is
written into a file that has no name, and the file descriptor is handed over on a second socket.
"""

import asyncio
import io
import os
import pickle
import socket
import tempfile
from dataclasses import dataclass, is_dataclass
from enum import Enum
from typing import Self

from inference_worker.engines.engine import Event, Health, Job, Progress

_LENGTH_BYTES = 4

#: Payloads from this size on are handed over as files.
SPOOL_BYTES = 1024 * 1024

#: Where the parts of messages are defined.
_OURS = ("inference_worker.", "client_sdk.wire.")

#: No system reads more than this in one call.
_MOST_READ_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Ends:
    """What joins the two processes, as one of them holds it.

    messages: the pipe.  bulk: hands over the files of large payloads.  pulse: see pulse.py.
    """

    messages: socket.socket
    bulk: socket.socket
    pulse: socket.socket

    @classmethod
    def pair(cls) -> tuple[Self, Self]:
        """Return ours and theirs."""
        pairs = [socket.socketpair() for _ in range(3)]
        return cls(*(ours for ours, _ in pairs)), cls(*(theirs for _, theirs in pairs))

    def close(self) -> None:
        """Close all that is still open."""
        for end in (self.messages, self.bulk, self.pulse):
            end.close()


@dataclass(frozen=True, slots=True)
class Run:
    """Begin this job; `number` names it on the pipe."""

    number: int
    job: Job


@dataclass(frozen=True, slots=True)
class Cancel:
    """Nobody wants this job's result any more; answer Ended once nothing of it runs."""

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
    """The engine is loaded and takes this many jobs at once; said again when that changes."""

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
class Ended:
    """Nothing of a cancelled job runs any more."""

    number: int


@dataclass(frozen=True, slots=True)
class HealthIs:
    """The answer to AskHealth."""

    health: Health


ToEngine = Run | Cancel | AskHealth | Stop
FromEngine = Loading | Ready | Broken | Happened | Ended | HealthIs


class Pipe:
    """One end: sends messages and receives the other end's, in order."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, bulk: socket.socket
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._bulk = bulk

    @classmethod
    async def over(cls, ends: Ends) -> Self:
        """Take over one side's ends."""
        ends.messages.setblocking(False)
        ends.bulk.setblocking(False)
        return cls(*await asyncio.open_connection(sock=ends.messages), ends.bulk)

    def send(self, message: ToEngine | FromEngine) -> None:
        """Send without waiting; to a closed pipe it is lost, which the reader is told by its end.

        What is sent is bounded by the window and not by the pipe, so there is nothing to wait for.
        """
        if self._writer.is_closing():
            return
        file = io.BytesIO()
        _Packer(file, self._bulk).dump(message)
        data = file.getbuffer()
        self._writer.write(len(data).to_bytes(_LENGTH_BYTES))
        self._writer.write(data)

    async def receive(self) -> ToEngine | FromEngine | None:
        """Return the next message, or None when the other end is gone."""
        try:
            head = await self._reader.readexactly(_LENGTH_BYTES)
            data = await self._reader.readexactly(int.from_bytes(head))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        message: ToEngine | FromEngine = _Unpacker(io.BytesIO(data), self._bulk).load()
        return message

    async def close(self) -> None:
        """Send what is still unsent and close; the other end receives None."""
        self._writer.close()
        self._bulk.close()
        try:
            await self._writer.wait_closed()
        except ConnectionError:
            # The other end went first.
            return

    def abort(self) -> None:
        """Close without sending what is unsent."""
        self._writer.transport.abort()
        self._bulk.close()


class _Packer(pickle.Pickler):
    """Pickles a message; what is large in it goes the other way and leaves only its size."""

    def __init__(self, file: io.BytesIO, bulk: socket.socket) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self._bulk = bulk

    def persistent_id(self, value: object) -> int | None:
        if isinstance(value, bytes) and len(value) >= SPOOL_BYTES and self._hand_over(value):
            return len(value)
        return None

    def _hand_over(self, data: bytes) -> bool:
        try:
            fd = _nameless_file()
            try:
                view = memoryview(data)
                while view:
                    view = view[os.write(fd, view) :]
                socket.send_fds(self._bulk, [b"f"], [fd])
            finally:
                os.close(fd)
        except OSError:
            # No file, no room, or too many on their way: the pipe carries it as it does the rest.
            return False
        return True


class _Unpacker(pickle.Unpickler):
    """Reads a message; what is large in it has arrived before it on the other socket."""

    def __init__(self, file: io.BytesIO, bulk: socket.socket) -> None:
        super().__init__(file)
        self._bulk = bulk

    def find_class(self, module: str, name: str) -> type:
        # A pickle can name any function of the process that reads it, and call it.
        found = super().find_class(module, name) if module.startswith(_OURS) else None
        is_plain = is_dataclass(found) or (isinstance(found, type) and issubclass(found, Enum))
        if isinstance(found, type) and is_plain and found.__module__ == module:
            return found
        raise pickle.UnpicklingError(f"{module}.{name} is no part of a message")

    def persistent_load(self, size: int) -> bytes:
        _, (fd,), _, _ = socket.recv_fds(self._bulk, 1, 1)
        try:
            parts, at = [], 0
            while at < size:
                part = os.pread(fd, min(size - at, _MOST_READ_BYTES), at)
                if not part:
                    raise pickle.UnpicklingError(f"{size} bytes were promised, {at} came")
                parts.append(part)
                at += len(part)
        finally:
            os.close(fd)
        return parts[0] if len(parts) == 1 else b"".join(parts)


def _nameless_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("penstock-payload", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
