"""Loads the engine; stops early on a refused token or a signal."""

import asyncio
from collections.abc import Coroutine
from typing import Any


async def load(
    start: Coroutine[Any, Any, None],
    check: Coroutine[Any, Any, None] | None,
    leaving: "asyncio.Task[Any]",
) -> bool:
    """Return whether the engine has loaded; False if the worker has to leave before that.

    check: whether the service accepts this worker.  Its error is reported at once, not after
    minutes of loading.
    """
    loading = asyncio.create_task(start)
    checking = leaving if check is None else asyncio.create_task(check)
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
