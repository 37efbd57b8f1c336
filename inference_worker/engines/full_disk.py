"""Waits while the worker's disk is full: a finished output is not lost because of that."""

import asyncio
import logging
from collections.abc import AsyncGenerator

from inference_worker.engines.engine import Failed, Finished, Job, Progress
from inference_worker.engines.job_content import DiskFull, settled

#: The disk is tried again this often, in seconds: other programs use and free it too.
TRY_EVERY_S = 2.0

log = logging.getLogger(__name__)


async def settled_with_room(
    job: Job, end: Finished
) -> AsyncGenerator[Progress | Finished | Failed, None]:
    """Yield the end with its output in the job's folder, as `settled` returns it.

    Before it, while the disk is full, yield progress that says so.
    """
    has_waited = False
    while True:
        try:
            done = await asyncio.to_thread(settled, job, end)
        except DiskFull as error:
            if not has_waited:
                log.warning("The result of %s waits: %s.", job.request_id, error)
            has_waited = True
            yield Progress(1.0, f"the result waits: {error}")
            await asyncio.sleep(TRY_EVERY_S)
            continue
        if has_waited:
            log.info("The disk has room for the result of %s.", job.request_id)
        yield done
        return
