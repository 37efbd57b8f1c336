"""What the workers of a run compute: the input again, after the time that it asks for."""

from typing import Any

from tests.waiting import let_pass


def encode(request_id: str, delay_ms: int) -> bytes:
    """Return the payload of a request that takes so long."""
    return f"{request_id} {delay_ms}".encode()


def request_of(data: bytes) -> str:
    """Return whose data these are."""
    return data.partition(b" ")[0].decode(errors="replace")


def attempt_of(result: bytes) -> int:
    """Return the attempt that made this result."""
    return int(result.rpartition(b" ")[2])


async def predict(data: bytes, ctx: Any) -> bytes:
    """Take the time, and give the input back with the number of the attempt."""
    if delay_ms := int(data.partition(b" ")[2] or 0):
        await let_pass(delay_ms / 1000)
    return b"%s %d" % (data, ctx.attempt)
