"""Cancellation that a library has swallowed."""

import asyncio


def notice_cancellation() -> None:
    """Raise CancelledError when this task was cancelled and does not know it.

    Python 3.11's asyncio.wait_for, with which redis-py reads, returns its result when that
    comes in the same moment as a cancellation, and the cancellation is gone.  A loop that
    reads from Redis for ever would then never end.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
