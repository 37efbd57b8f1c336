"""Keeps cancellation from getting lost."""

import asyncio


def notice_cancellation() -> None:
    """Raise CancelledError when this task was cancelled and does not know it.

    Two parts of Python's asyncio (3.11 and 3.12) swallow a cancellation that comes in the same
    moment as something else: `wait_for`, with which redis-py reads, returns its result, and a
    TaskGroup that is ending because of an error raises only that error.  A loop that goes on after
    either would never end.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def end_task(task: "asyncio.Task[None]") -> None:
    """Cancel a task and wait for its end; raises the error that it ended with.

    A cancellation of the caller is not taken for the task's.
    """
    task.cancel()
    await asyncio.wait((task,))
    if not task.cancelled():
        task.result()
