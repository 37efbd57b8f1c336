"""The watch and the worker API with any messages: closed with a code or served, nothing lost."""

import contextlib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from client_sdk.wire import names, worker
from client_sdk.wire.errors import WireError
from client_sdk.wire.failures import FailureType
from client_sdk.wire.proto import worker_pb2
from tests.fuzz.cases import cases
from tests.fuzz.conftest import Fuzzed
from tests.fuzz.line import BINARY, CLOSE, HANDSHAKE, PING, PONG, TEXT, Line
from tests.running import TOKEN
from tests.waiting import wait_until_blocking

#: Close codes that the protocols know; 0 is a connection that has ended without one.
# Neither 4401 nor 4404, 4423: nobody revokes, deletes or stops here.
CODES = {0, 1000, 1001, 1002, 1003, 1005, 1006, 1007, 1008, 1009, 4400, 4408, 4409, 4426}

MESSAGES = st.lists(
    st.tuples(
        st.sampled_from([TEXT, BINARY, PING, PONG, CLOSE, 0, 3, 11]),
        st.binary(max_size=130),
        st.booleans(),
        st.integers(0, 9).map(bool),
    ),
    max_size=4,
)


def end_of(line: Line) -> int:
    """Ask for a sign of life; return the close code, or -1 when the connection is served."""
    with contextlib.suppress(ConnectionError):
        line.send_frame(PING, b"still there?")
    while True:
        opcode, data = line.next_frame()
        if opcode == CLOSE:
            return int.from_bytes(data[:2], "big")
        if (opcode, data) == (PONG, b"still there?"):
            return -1


@cases(0.05)
@given(MESSAGES)
def test_a_watch_is_served_or_closed_with_a_code(
    fuzzed: Fuzzed, messages: list[tuple[int, bytes, bool, bool]]
) -> None:
    index = int(fuzzed.ask("POST", "watched", b"x").body)
    with fuzzed.new_line() as line:
        answer = fuzzed.ask("GET", "watched?_watch_=true&_window_=3", extra=HANDSHAKE, line=line)
        assert answer.status == 101
        for opcode, data, final, masked in messages:
            with contextlib.suppress(ConnectionError):
                line.send_frame(opcode, data, final=final, masked=masked)
        # A message that was begun and not ended leaves the service waiting, rightly.
        if all(final for _, _, final, _ in messages):
            assert end_of(line) in {-1, *CODES}
    assert [item["index"] for item in fuzzed.frames("watched")] == [index]
    assert fuzzed.ask("DELETE", f"watched?_indexes_={index}").status == 200


NUMBERS = st.one_of(st.integers(0, 5), st.sampled_from([2**32 - 1]))
INDEXES = st.one_of(st.integers(0, 5), st.sampled_from([2**53 + 1, 2**63 - 1, 2**64 - 1]))
TEXTS = st.one_of(
    st.sampled_from(["", "Shutdown", "EngineDied", "\x1f", "500"]), st.text(max_size=9)
)
TYPES = st.one_of(st.sampled_from(["", *FailureType]), TEXTS)
PAUSES = st.one_of(st.integers(0, 50), st.sampled_from([3_600_000, 2**53 + 1, 2**64 - 1]))


@st.composite
def worker_messages(draw: st.DrawFn) -> bytes:
    """Draw what a worker says: well-formed, with one byte changed, or nothing of the kind."""
    proto = worker_pb2.FromWorker()
    match draw(st.integers(0, 5)):
        case 0:
            hello = proto.hello
            hello.protocol, hello.uid, hello.window = 1, draw(TEXTS), draw(NUMBERS)
            for _ in range(draw(st.integers(0, 2))):
                hello.held.add(index=draw(INDEXES), attempt=draw(NUMBERS))
        case 1:
            for _ in range(draw(st.integers(0, 2))):
                done = proto.complete.completions.add(index=draw(INDEXES), attempt=draw(NUMBERS))
                done.result.data = draw(st.binary(max_size=20))
                done.result.tags.update(draw(st.dictionaries(TEXTS, TEXTS, max_size=2)))
                if draw(st.booleans()):
                    done.failed.code, done.failed.reason = draw(TEXTS), draw(TEXTS)
                    done.failed.type = draw(TYPES)
        case 2:
            for _ in range(draw(st.integers(0, 2))):
                proto.reject.rejections.add(
                    index=draw(INDEXES),
                    attempt=draw(NUMBERS),
                    code=draw(TEXTS),
                    reason=draw(TEXTS),
                    type=draw(TYPES),
                    pause_ms=draw(PAUSES),
                    alone=draw(st.booleans()),
                    request_id=draw(TEXTS),
                )
        case 3:
            proto.renew.load.running = draw(NUMBERS)
            proto.renew.load.gpu_utilization = draw(st.floats())
        case 4:
            proto.window.window = draw(NUMBERS)
        case _:
            return draw(st.binary(max_size=40))
    data = bytearray(proto.SerializeToString())
    if data and not draw(st.integers(0, 3)):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data)


@cases(0.05)
@given(st.lists(worker_messages(), max_size=5), st.booleans(), st.integers(0, 3))
def test_a_worker_is_served_or_closed_with_a_code_and_no_entry_is_lost(
    fuzzed: Fuzzed, messages: list[bytes], says_hello: bool, entries: int
) -> None:
    # Indexes begin where they did before, so that the generated ones may be right.
    first = 1 + int(fuzzed.ask("POST", "worked", b"to find the index").body)
    fuzzed.ask("DELETE", f"worked?_indexes_={first - 1}")
    put = [fuzzed.ask("POST", "worked", b"x") for _ in range(entries)]
    ids = {answer.header(names.REQUEST_ID_HEADER) for answer in put}
    path = names.WORK_PATH.format(service="worked")
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {TOKEN}\r\n".encode()
    if says_hello:
        messages = [worker.encode_from_worker(worker.Hello(uid="w1", window=2)), *messages]
    with fuzzed.new_line() as line:
        assert line.ask(request + HANDSHAKE + b"\r\n").status == 101
        for data in messages:
            with contextlib.suppress(ConnectionError):
                line.send_frame(BINARY, _shifted(data, first - 1))
        assert end_of(line) in {-1, *CODES}

    def all_there() -> bool:
        tags: list[Any] = [item["tags"] for item in fuzzed.frames("worked")]
        tags += [item["tags"] for item in fuzzed.frames("worked/sink")]
        return {one["requestId"] for one in tags} == ids

    wait_until_blocking(all_there, "every entry is in the queue or has a result")
    for queue in ("worked", "worked/sink"):
        fuzzed.ask("DELETE", f"{queue}?_trunc_=true&_index_={2**62}")


def _shifted(data: bytes, by: int) -> bytes:
    """Let small indexes be those of this case's entries."""
    proto = worker_pb2.FromWorker()
    try:
        worker.decode_from_worker(data)
        proto.ParseFromString(data)
    except (WireError, ValueError):
        return data
    items: list[Any] = [*proto.complete.completions, *proto.reject.rejections]
    for item in items:
        if item.index <= 5:
            item.index += by
    return proto.SerializeToString() if items else data
