"""Recorded requests of a client, byte for byte, and the answers that it needs.

## what it does @connection      without @: the one connection that is kept for requests
> GET /path HTTP/1.1             a request: lines that end with CRLF, an empty one, then the body,
>                                which has no line end; {host} and {token} are filled in
< 200                            the status, then headers that must be among the answer's: their
< Name: value                    values as they are, or behind ~ a regular expression
<
< body                           the whole body and not a byte more
<x 0a16 0801                     the same in hexadecimal; on an open stream the next bytes of it
<chunk 00000012                  the next chunk of an answer without an end
<attributes name=value           the body is an AttributesProto, or with <json an object, that
<json name=value                 has this text among its values
>x 8980 00000000                 bytes, as they are
"""

import asyncio
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from client_sdk.wire import frame

#: The status of a handshake that has made a WebSocket.
SWITCHED = 101
#: Seconds an answer may take.
ANSWER_S = 5.0


@dataclass
class Step:
    """One thing that the client does: lines of the transcript, without the step's title."""

    title: str
    connection: str
    lines: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Answer:
    """An answer's head, and its body where its length is known."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def read_transcript(path: Path) -> Iterator[Step]:
    """Read the steps of one file."""
    step: Step | None = None
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line.startswith("## "):
            if step is not None:
                yield step
            title, _, connection = line[3:].partition(" @")
            step = Step(f"{path.name}:{number}: {title}", connection)
        elif line and not line.startswith("#"):
            assert step is not None
            mark, _, rest = line.partition(" ")
            step.lines.append((mark, rest))
    if step is not None:
        yield step


class Replay:
    """Says to a service what a client said, and compares what it answers."""

    def __init__(self, host: str, port: int, token: str) -> None:
        self._address = (host, port)
        self._fill = {"host": f"{host}:{port}", "token": token}
        self._open: dict[str, tuple[asyncio.StreamReader, asyncio.StreamWriter]] = {}

    async def play(self, step: Step) -> None:
        """Play one step; raise AssertionError where the answer is another."""
        if step.connection not in self._open:
            self._open[step.connection] = await asyncio.open_connection(*self._address)
        reader, writer = self._open[step.connection]
        request = [line for mark, line in step.lines if mark == ">"]
        answer: Answer | None = None
        if request:
            writer.write(self._request(request))
            answer = await asyncio.wait_for(_read_answer(reader), ANSWER_S)
            _compare_head(step, answer)
        for mark, line in step.lines:
            wanted = bytes.fromhex(line) if mark in {"<x", ">x", "<chunk"} else b""
            match mark:
                case ">x":
                    writer.write(wanted)
                case "<x" if answer is None or answer.status == SWITCHED:
                    got = await asyncio.wait_for(reader.readexactly(len(wanted)), ANSWER_S)
                    assert got == wanted, f"{step.title}: {got.hex()}"
                case "<x":
                    assert answer is not None
                    assert answer.body == wanted, f"{step.title}: {answer.body.hex()}"
                case "<chunk":
                    size = await asyncio.wait_for(reader.readuntil(b"\r\n"), ANSWER_S)
                    got = await reader.readexactly(int(size, 16) + 2)
                    assert got == wanted + b"\r\n", f"{step.title}: {got.hex()}"
                case "<attributes" | "<json":
                    assert answer is not None
                    is_json = mark == "<json"
                    values = json.loads(answer.body) if is_json else None
                    values = values or frame.decode_attributes(answer.body)
                    name, _, value = line.partition("=")
                    assert values[name] == value, f"{step.title}: {name} is {values[name]}"

    def close(self) -> None:
        for _, writer in self._open.values():
            writer.close()

    def _request(self, lines: list[str]) -> bytes:
        end = lines.index("")
        head = "".join(f"{line.format(**self._fill)}\r\n" for line in lines[: end + 1])
        return head.encode() + "\n".join(lines[end + 1 :]).encode()


def _compare_head(step: Step, answer: Answer) -> None:
    wanted = [line for mark, line in step.lines if mark == "<"]
    assert answer.status == int(wanted[0]), f"{step.title}: {answer.status} {answer.body!r}"
    body_at = wanted.index("") if "" in wanted else len(wanted)
    for line in wanted[1:body_at]:
        name, _, value = line.partition(": ")
        came = answer.headers[name.lower()]
        if value.startswith("~"):
            assert re.fullmatch(value[1:], came), f"{step.title}: {name} is {came!r}"
        else:
            assert came == value, f"{step.title}: {name} is {came!r}"
    body = "\n".join(wanted[body_at + 1 :])
    if body:
        assert answer.body == body.encode(), f"{step.title}: {answer.body!r}"
    if answer.status == 204:
        assert answer.body == b""
        assert "content-length" not in answer.headers


async def _read_answer(reader: asyncio.StreamReader) -> Answer:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {
        name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])
    }
    body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Answer(int(head[0].split(" ")[1]), headers, body)
