"""A WebSocket written by hand, down to the frames, with no manners."""

import contextlib
import select
import socket
import struct

from client_sdk.wire import names
from tests.attacks.strangers import dial
from tests.running import TOKEN, QueueServiceProcess

BINARY, CONTINUATION, CLOSE = 2, 0, 8


class BareWebSocket:
    """A connection on which a test writes the frames that it likes."""

    def __init__(
        self, service: QueueServiceProcess, target: str, *, extensions: str = "", uid: str = "u1"
    ) -> None:
        self.sock: socket.socket = dial(service)
        head = [
            f"GET {target} HTTP/1.1",
            "Host: localhost",
            f"Authorization: {TOKEN}",
            f"{names.USER_HEADER}: {uid}",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        ]
        if extensions:
            head.append(f"Sec-WebSocket-Extensions: {extensions}")
        self.sock.sendall("\r\n".join([*head, "", ""]).encode())
        self.answer = b""
        while b"\r\n\r\n" not in self.answer:
            self.answer += self.sock.recv(1)
        assert self.answer.startswith(b"HTTP/1.1 101 "), self.answer

    def send(self, opcode: int, data: bytes, *, last: bool = True, reserved: int = 0) -> bool:
        """Write one frame, masked with zeros; False when the other side has closed or spoken."""
        first = (0x80 if last else 0) | reserved | opcode
        if len(data) < 126:
            head = struct.pack("!BB", first, 0x80 | len(data))
        elif len(data) < 65536:
            head = struct.pack("!BBH", first, 0x80 | 126, len(data))
        else:
            head = struct.pack("!BBQ", first, 0x80 | 127, len(data))
        try:
            self.sock.sendall(head + bytes(4) + data)
        except ConnectionError:
            return False
        return not select.select([self.sock], [], [], 0)[0]

    def close_code(self) -> int:
        """Read until the close frame and return its code; 0 when none comes."""
        received = b""
        with contextlib.suppress(ConnectionError, TimeoutError):
            while True:
                piece = self.sock.recv(65536)
                received += piece
                # A close frame of a server: no mask, a short payload.
                start = received.find(bytes([0x80 | CLOSE]))
                if start >= 0 and len(received) >= start + 4:
                    return int(struct.unpack("!H", received[start + 2 : start + 4])[0])
                if not piece:
                    break
        return 0
