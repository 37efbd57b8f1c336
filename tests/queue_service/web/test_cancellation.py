"""A cancellation that a library has swallowed still ends the loop that it was meant for."""

import asyncio
import contextlib

from queue_service.store.cancellation import notice_cancellation


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

    done, _ = await asyncio.wait((reading,), timeout=5)

    assert done == {reading}
    assert reading.cancelled()


async def test_a_task_that_nobody_cancelled_goes_on() -> None:
    notice_cancellation()
