"""A cancellation that a library has swallowed still ends the loop that it was meant for."""

import asyncio
import contextlib

import pytest

from client_sdk.cancellation import end_task, notice_cancellation
from tests.waiting import let_pass


async def test_a_swallowed_cancellation_is_noticed_at_the_next_look() -> None:
    started = asyncio.Event()

    async def reads_for_ever() -> None:
        while True:
            started.set()
            # What a library does that returns a result which came together with the end.
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            notice_cancellation()

    reading = asyncio.create_task(reads_for_ever())
    await started.wait()
    reading.cancel()

    done, _ = await asyncio.wait((reading,), timeout=30)

    assert done == {reading}
    assert reading.cancelled()


async def test_a_task_that_nobody_cancelled_goes_on() -> None:
    notice_cancellation()


async def test_ending_a_task_does_not_swallow_the_end_of_the_caller() -> None:
    ended = asyncio.Event()

    async def slow_to_end() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await ended.wait()

    task = asyncio.create_task(slow_to_end())
    await let_pass(0)
    caller = asyncio.create_task(end_task(task))
    await let_pass(0)
    caller.cancel()
    done, _ = await asyncio.wait((caller,), timeout=30)
    assert done == {caller}
    assert caller.cancelled()

    ended.set()
    await end_task(task)
    assert task.cancelled()


async def test_ending_a_task_raises_what_it_ended_with() -> None:
    async def fails() -> None:
        raise ValueError("a defect")

    task = asyncio.create_task(fails())
    await let_pass(0)
    with pytest.raises(ValueError, match="a defect"):
        await end_task(task)
