"""A TCP connection to the service on which anything can be written; HTTP and WebSockets by hand."""

import os
import re
import select
import socket
import struct
from dataclasses import dataclass

#: Seconds until the service must have answered.
ANSWER_S = 10.0

HANDSHAKE = (
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


@dataclass(frozen=True)
class Answer:
    """One answer; body is empty where it has no known length."""

    status: int
    head: bytes
    body: bytes

    @property
    def closes(self) -> bool:
        """Whether the service ends the connection after it."""
        return self.head.startswith(b"HTTP/1.0") or self.header("Connection") == "close"

    def header(self, name: str) -> str | None:
        found = re.search(rf"(?im)^{name}: *([^\r]*)".encode(), self.head)
        return found[1].decode() if found else None


class Line:
    """A connection that is made again when it was closed."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._socket: socket.socket | None = None
        self._unread = b""

    def ask(self, request: bytes, *, has_body: bool = True, is_last: bool = False) -> Answer:
        """Send a request and read its answer; status 0 where there is none.

        is_last: nothing follows on this connection, and the request says so.
        """
        if self._socket is None:
            self._socket = socket.create_connection(self._address, ANSWER_S)
        try:
            self._socket.sendall(request)
            if is_last:
                self._socket.shutdown(socket.SHUT_WR)
            head = self._until(b"\r\n\r\n")
        except (ConnectionError, EOFError):
            self.close()
            return Answer(0, b"", b"")
        answer = Answer(int(head.split(b" ")[1]), head, b"")
        length = answer.header("Content-Length")
        if length is not None and has_body:
            answer = Answer(answer.status, head, self._exactly(int(length)))
        elif answer.status != 204 and has_body and answer.status != 101:
            # An answer without an end.
            self.close()
        if answer.closes:
            self.close()
        return answer

    def send_frame(
        self, opcode: int, data: bytes, *, final: bool = True, masked: bool = True
    ) -> None:
        """Write one WebSocket frame."""
        assert self._socket is not None
        first = (0x80 if final else 0) | opcode
        mark = 0x80 if masked else 0
        if len(data) < 126:
            head = struct.pack(">BB", first, mark | len(data))
        else:
            head = struct.pack(">BBH", first, mark | 126, len(data))
        key = os.urandom(4) if masked else b""
        body = bytes(byte ^ key[at % 4] for at, byte in enumerate(data)) if masked else data
        self._socket.sendall(head + key + body)

    def next_frame(self) -> tuple[int, bytes]:
        """Read one WebSocket frame of the service; a lost connection reads as a close."""
        try:
            first, size = self._exactly(2)
            if size == 126:
                (size,) = struct.unpack(">H", self._exactly(2))
            elif size == 127:
                (size,) = struct.unpack(">Q", self._exactly(8))
            return first & 0x0F, self._exactly(size)
        except (ConnectionError, EOFError):
            return CLOSE, b""

    def frames_so_far(self) -> list[bytes]:
        """Return the data of every binary frame that has come whole, without waiting."""
        assert self._socket is not None
        while select.select([self._socket], [], [], 0)[0]:
            self._read_more()
        found: list[bytes] = []
        while len(self._unread) >= 2:
            head, size = 2, self._unread[1]
            if size == 126:
                head, size = 4, int.from_bytes(self._unread[2:4], "big")
            if len(self._unread) < head + size:
                break
            opcode = self._unread[0] & 0x0F
            assert opcode != CLOSE, self._unread
            if opcode == BINARY:
                found.append(self._unread[head : head + size])
            self._unread = self._unread[head + size :]
        return found

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket, self._unread = None, b""

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._unread:
            self._read_more()
        head, _, self._unread = self._unread.partition(mark)
        return head + mark

    def _exactly(self, count: int) -> bytes:
        while len(self._unread) < count:
            self._read_more()
        data, self._unread = self._unread[:count], self._unread[count:]
        return data

    def _read_more(self) -> None:
        assert self._socket is not None
        data = self._socket.recv(65_536)
        if not data:
            raise EOFError
        self._unread += data
