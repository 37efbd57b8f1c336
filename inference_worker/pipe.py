"""The messages between the supervisor and its engine's process, and their framing.

    supervisor -> engine   Run  Cancel  AskHealth  Stop
    engine -> supervisor   Loading*  then  Ready | Broken;  after Ready: Happened  Ended  HealthIs
                           and Ready again when the capacity changes

A message is its length (four bytes, big-endian) and its pickle.  The unpickler accepts only
messages and plain values: the engine runs foreign code, and the supervisor has the worker's token.

A large payload does not go through the pipe, where it would be copied at every step.  It is written
to a file without a name, and the file descriptor is sent over a second socket.
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

#: Payloads of at least this size are sent as files.
SPOOL_BYTES = 1024 * 1024

#: The packages that define the parts of messages.
_OURS = ("inference_worker.", "client_sdk.wire.")

#: One call reads at most this much; Linux limits it to about 2 GiB, macOS to less.
_MOST_READ_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Ends:
    """One process's ends of the sockets between the two.

    messages: the pipe.  bulk: sends the files of large payloads.  heartbeat: see heartbeat.py.
    """

    messages: socket.socket
    bulk: socket.socket
    heartbeat: socket.socket

    @classmethod
    def pair(cls) -> tuple[Self, Self]:
        """Return ours and theirs."""
        pairs = [socket.socketpair() for _ in range(3)]
        return cls(*(ours for ours, _ in pairs)), cls(*(theirs for _, theirs in pairs))

    def close(self) -> None:
        """Close all sockets."""
        for end in (self.messages, self.bulk, self.heartbeat):
            end.close()


@dataclass(frozen=True, slots=True)
class Run:
    """Start this job; other messages refer to it by `number`."""

    number: int
    job: Job


@dataclass(frozen=True, slots=True)
class Cancel:
    """Cancel this job; reply with Ended once nothing of it runs."""

    number: int


@dataclass(frozen=True, slots=True)
class AskHealth:
    """Reply with HealthIs."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop the engine and exit."""

    grace_s: float


@dataclass(frozen=True, slots=True)
class Loading:
    """Progress of the loading."""

    progress: Progress


@dataclass(frozen=True, slots=True)
class Ready:
    """The engine is loaded and can run this many jobs at once; sent again when that changes.

    interface: see engines/interface.py; only the first message has it.
    """

    capacity: int
    interface: bytes = b""


@dataclass(frozen=True, slots=True)
class Broken:
    """The engine did not load; the process exits."""

    cause: str


@dataclass(frozen=True, slots=True)
class Happened:
    """An event of the job with this number; Finished and Failed are the last ones."""

    number: int
    event: Event


@dataclass(frozen=True, slots=True)
class Ended:
    """Nothing of a cancelled job is running any more."""

    number: int


@dataclass(frozen=True, slots=True)
class HealthIs:
    """The reply to AskHealth."""

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
        """Create a pipe over one side's sockets."""
        ends.messages.setblocking(False)
        ends.bulk.setblocking(False)
        return cls(*await asyncio.open_connection(sock=ends.messages), ends.bulk)

    def send(self, message: ToEngine | FromEngine) -> None:
        """Send without waiting.  Messages to a closed pipe are dropped; `receive` reports the
        close.

        The window bounds what is sent, so flow control is not needed here.
        """
        if self._writer.is_closing():
            return
        file = io.BytesIO()
        _Packer(file, self._bulk).dump(message)
        data = file.getbuffer()
        self._writer.write(len(data).to_bytes(_LENGTH_BYTES))
        self._writer.write(data)

    async def receive(self) -> ToEngine | FromEngine | None:
        """Return the next message, or None if the other end is closed."""
        try:
            head = await self._reader.readexactly(_LENGTH_BYTES)
            data = await self._reader.readexactly(int.from_bytes(head))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        message: ToEngine | FromEngine = _Unpacker(io.BytesIO(data), self._bulk).load()
        return message

    async def close(self) -> None:
        """Send all unsent messages and close; the other end receives None."""
        self._writer.close()
        self._bulk.close()
        try:
            await self._writer.wait_closed()
        except ConnectionError:
            # The other end closed first.
            return

    def abort(self) -> None:
        """Close without sending the unsent messages."""
        self._writer.transport.abort()
        self._bulk.close()


class _Packer(pickle.Pickler):
    """Pickles a message; a large payload is sent as a file, and only its size is pickled."""

    def __init__(self, file: io.BytesIO, bulk: socket.socket) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self._bulk = bulk

    def persistent_id(self, value: object) -> int | None:
        if isinstance(value, bytes) and len(value) >= SPOOL_BYTES and self._send_file(value):
            return len(value)
        return None

    def _send_file(self, data: bytes) -> bool:
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
            # No file, a full disk, or a full socket: the payload goes through the pipe instead.
            return False
        return True


class _Unpacker(pickle.Unpickler):
    """Unpickles a message; its large payloads have already arrived on the other socket."""

    def __init__(self, file: io.BytesIO, bulk: socket.socket) -> None:
        super().__init__(file)
        self._bulk = bulk

    def find_class(self, module: str, name: str) -> type:
        # A pickle can name and call any function of this process, so only plain types are allowed.
        found = super().find_class(module, name) if module.startswith(_OURS) else None
        is_plain = is_dataclass(found) or (isinstance(found, type) and issubclass(found, Enum))
        if isinstance(found, type) and is_plain and found.__module__ == module:
            return found
        raise pickle.UnpicklingError(f"{module}.{name} is not part of a message")

    def persistent_load(self, size: int) -> bytes:
        _, (fd,), _, _ = socket.recv_fds(self._bulk, 1, 1)
        try:
            parts, at = [], 0
            while at < size:
                part = os.pread(fd, min(size - at, _MOST_READ_BYTES), at)
                if not part:
                    raise pickle.UnpicklingError(f"expected {size} bytes, got {at}")
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
