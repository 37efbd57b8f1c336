"""Uploads the artifacts of a job while it runs."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any

from inference_worker.engines.engine import Artifact, Event, Failed, Finished

Upload = Callable[[Artifact], Coroutine[Any, Any, Artifact | Failed]]


async def with_uploads(
    first: Artifact,
    events: AsyncGenerator[Event, None],
    upload: Upload,
    *,
    stop_clock: Callable[[], None],
) -> AsyncGenerator[Event, None]:
    """Yield the events of a job from its first artifact on, and each artifact once it is uploaded.

    The end of the job comes after all of them.  Artifacts are uploaded one after the other, so that
    the last one of a name stays.  stop_clock: called when the engine has finished.
    """
    waiting = deque([first])
    coming: asyncio.Task[Event | None] | None = asyncio.create_task(_next(events))
    uploading: asyncio.Task[Artifact | Failed] | None = None
    end: Event | None = None
    try:
        while coming or uploading or waiting:
            if uploading is None and waiting:
                uploading = asyncio.create_task(upload(waiting.popleft()))
            tasks: set[asyncio.Task[Any]] = {one for one in (coming, uploading) if one}
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if uploading and uploading.done():
                stored, uploading = uploading.result(), None
                if isinstance(stored, Failed):
                    yield end if isinstance(end, Failed) else stored
                    return
                yield stored
            if coming and coming.done():
                event, coming = coming.result(), None
                if event is None or isinstance(event, Finished | Failed):
                    stop_clock()
                    end = event
                    continue
                coming = asyncio.create_task(_next(events))
                if isinstance(event, Artifact):
                    waiting.append(event)
                else:
                    yield event
        if end is not None:
            yield end
    finally:
        open_tasks = [one for one in (coming, uploading) if one]
        for one in open_tasks:
            one.cancel()
        await asyncio.gather(*open_tasks, return_exceptions=True)


async def _next(events: AsyncGenerator[Event, None]) -> Event | None:
    return await anext(events, None)
