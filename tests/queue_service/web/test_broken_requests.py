"""Requests that are broken below HTTP: cut off, too long, too slow, or no HTTP at all.

Nothing of them is stored, each ends soon, and nobody else is disturbed.
"""

import time

import pytest

from tests.queue_service.conftest import BODY_TIMEOUT_S, Stored
from tests.queue_service.web.raw import RawRequest, answer_of
from tests.running import QueueServiceProcess
from tests.waiting import LATE_S, hold_for

pytestmark = pytest.mark.usefixtures("emptied", "neighbour")

#: Seconds to watch that nothing appears in the store.
QUIET_S = 0.3


async def _nothing_is_stored(stored: Stored) -> None:
    async def nothing() -> bool:
        return await stored.entries() == 0

    await hold_for(QUIET_S, nothing, "nothing is stored")


CUT_OFF = [
    pytest.param(b"ten bytes.", "Content-Length: 100", id="Content-Length"),
    pytest.param(b"5\r\nhello\r\n", "Transfer-Encoding: chunked", id="between chunks"),
    pytest.param(b"ff\r\nhello", "Transfer-Encoding: chunked", id="within a chunk"),
]


@pytest.mark.parametrize(("body", "header"), CUT_OFF)
async def test_a_put_whose_body_is_cut_off_is_not_stored(
    raw: RawRequest, stored: Stored, body: bytes, header: str
) -> None:
    _, writer = await raw.send(body, header)
    writer.close()
    await writer.wait_closed()
    await _nothing_is_stored(stored)


@pytest.mark.parametrize(("body", "header"), CUT_OFF)
async def test_a_put_whose_sender_hangs_up_and_still_listens_is_not_stored(
    raw: RawRequest, stored: Stored, body: bytes, header: str
) -> None:
    status, _ = await answer_of(*await raw.send(body, header, half_close=True))
    assert status in {0, 400, 408}
    await _nothing_is_stored(stored)


@pytest.mark.parametrize(
    ("body", "header"),
    [
        pytest.param(b"", "Content-Length: 100", id="nothing comes"),
        pytest.param(b"a start", "Content-Length: 100", id="a start comes"),
        pytest.param(b"5\r\nhello\r\n", "Transfer-Encoding: chunked", id="one chunk comes"),
    ],
)
async def test_a_body_that_does_not_come_is_not_waited_for_without_an_end(
    raw: RawRequest, stored: Stored, body: bytes, header: str
) -> None:
    began = time.monotonic()
    status, _ = await answer_of(*await raw.send(body, header))
    assert status in {0, 400, 408}
    assert BODY_TIMEOUT_S * 0.9 < time.monotonic() - began < BODY_TIMEOUT_S + LATE_S
    await _nothing_is_stored(stored)


async def test_an_announced_giant_is_refused_before_it_comes(
    raw: RawRequest, stored: Stored
) -> None:
    began = time.monotonic()
    status, rest = await answer_of(*await raw.send(b"x" * 100, f"Content-Length: {10**12}"))
    assert status == 413
    assert b"FRAME_TOO_BIG" in rest
    assert time.monotonic() - began < BODY_TIMEOUT_S + LATE_S
    await _nothing_is_stored(stored)


async def test_a_giant_that_does_not_announce_itself_is_refused_on_the_way(
    raw: RawRequest, stored: Stored
) -> None:
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    status, rest = await answer_of(*await raw.send(chunk * 8, "Transfer-Encoding: chunked"))
    assert status == 413
    assert b"FRAME_TOO_BIG" in rest
    await _nothing_is_stored(stored)


async def test_a_header_of_100_kilobytes_is_refused(raw: RawRequest, stored: Stored) -> None:
    giant = f"X-Giant: {'x' * 100_000}"
    status, rest = await answer_of(*await raw.send(b"payload", giant, "Content-Length: 7"))
    assert status in {400, 431}
    assert rest.partition(b"\r\n\r\n")[2], "the refusal has no sentence"
    await _nothing_is_stored(stored)


async def test_a_thousand_headers_of_100_bytes_are_refused_too(
    raw: RawRequest, stored: Stored
) -> None:
    many = [f"X-Many-{number}: {'x' * 100}" for number in range(1000)]
    status, _ = await answer_of(*await raw.send(b"payload", *many, "Content-Length: 7"))
    assert status in {400, 431}
    await _nothing_is_stored(stored)


async def test_a_request_line_of_100_kilobytes_is_refused(raw: RawRequest, stored: Stored) -> None:
    target = f"svc?tag={'x' * 100_000}"
    status, _ = await answer_of(*await raw.send(b"payload", "Content-Length: 7", target=target))
    assert status in {400, 414, 431}
    await _nothing_is_stored(stored)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", id="TLS"),
        pytest.param(b"HELO queue\r\n\r\n", id="another protocol"),
        pytest.param(b"POST /api/predict/svc HTTP/1.1\r\nContent-Length: -7\r\n\r\n", id="length"),
    ],
)
async def test_what_is_no_http_is_refused(raw: RawRequest, stored: Stored, data: bytes) -> None:
    status, _ = await answer_of(*await raw.send_bytes(data))
    assert status in {0, 400}
    await _nothing_is_stored(stored)


async def test_two_lengths_that_differ_are_refused(raw: RawRequest, stored: Stored) -> None:
    # A proxy in front may believe the other one: what is left over would be a smuggled request.
    status, _ = await answer_of(
        *await raw.send(b"payload", "Content-Length: 7", "Content-Length: 3")
    )
    assert status == 400
    both = ("Content-Length: 7", "Transfer-Encoding: chunked")
    status, _ = await answer_of(*await raw.send(b"0\r\n\r\n", *both))
    assert status == 400
    await _nothing_is_stored(stored)


async def test_what_the_internet_sends_leaves_no_traceback_in_the_log(
    raw: RawRequest, hardened_service: QueueServiceProcess
) -> None:
    # A traceback is for a defect of ours.  Here it would let a stranger fill the disk.
    before = len(hardened_service.log)
    _, writer = await raw.send(b"ten bytes.", "Content-Length: 100")
    writer.close()
    await answer_of(*await raw.send(b"", f"X-Giant: {'x' * 100_000}"))
    await answer_of(*await raw.send_bytes(b"HELO queue\r\n\r\n"))
    await hold_for(
        QUIET_S, lambda: "Traceback" not in hardened_service.log[before:], "no traceback"
    )
