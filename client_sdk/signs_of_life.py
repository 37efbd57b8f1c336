"""Heartbeats of both sides of a work connection: TCP can take minutes to notice a lost peer."""

import asyncio
from collections.abc import Callable

import aiohttp

from client_sdk.wire.load import Load
from client_sdk.wire.worker import Renew, encode_from_worker


async def renew(
    websocket: aiohttp.ClientWebSocketResponse, load: Callable[[], Load | None], *, lease_s: float
) -> None:
    """Send a sign of life every third of the lease, until the connection ends."""
    try:
        while True:
            # The first one at once: operators and autoscaling see the load from the start.
            await websocket.send_bytes(encode_from_worker(Renew(load())))
            await asyncio.sleep(lease_s / 3)
    except (aiohttp.ClientError, OSError):
        return  # The receiver sees the same end, and reports its reason.


async def watch_silence(
    limit: asyncio.Timeout, heard_at: Callable[[], float], *, lease_s: float
) -> None:
    """Let `limit` expire once nothing was heard for the length of the lease.

    heard_at: the loop's time of the last sign of life.
    """
    loop = asyncio.get_running_loop()
    while True:
        # Sleeps exactly until the deadline.  A check every third of the lease, which is how often
        # the service pings, could be a third too late.
        left_s = heard_at() + lease_s - loop.time()
        if left_s <= 0:
            limit.reschedule(loop.time())
            return
        await asyncio.sleep(left_s)
