"""Loads the engine; stops early on a refused token or a signal."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from inference_worker.engines.engine import Context, Engine, Progress

log = logging.getLogger(__name__)

#: Says how far the loading is, or why it waits.
Report = Callable[[Progress], None]

#: What has to be there before the engine loads, for example its GPU.
Prepare = Callable[[Report], Awaitable[None]]

#: Checks that the service accepts this worker; raises the QueueError otherwise.
Check = Callable[[], Coroutine[Any, Any, None]]


async def first_load(
    engine: Engine,
    report: Report,
    *,
    prepare: Prepare,
    check: Check | None,
    leaving: "asyncio.Task[Any]",
) -> bool:
    """Return whether the engine has loaded; False if the worker has to leave before that.

    Raises EngineFailed, and what `prepare` and `check` raise: an error of `check` at once, not
    after minutes of loading.
    """
    loading = asyncio.create_task(_load(engine, report, prepare))
    checking = leaving if check is None else asyncio.create_task(check())
    try:
        await asyncio.wait({loading, leaving, checking}, return_when=asyncio.FIRST_COMPLETED)
        if checking.done() and not leaving.done():
            checking.result()
            await asyncio.wait({loading, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not loading.done():
            return False
    finally:
        for task in {loading, checking} - {leaving}:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
    loading.result()
    return True


async def _load(engine: Engine, report: Report, prepare: Prepare) -> None:
    await prepare(report)
    log.info("The engine %s is loading.", engine.name)
    loop = asyncio.get_running_loop()
    began_at = loop.time()
    await engine.start(Context(report=report, log=log))
    log.info("The engine is ready after %.1f s.", loop.time() - began_at)
