"""Whether the store answers, and is set up for the required durability."""

import asyncio
import logging

from redis.exceptions import RedisError

from queue_service.store.durability import NotDurable
from queue_service.store.scripts import PING_TRIES, Scripts

log = logging.getLogger(__name__)

#: How long the store may take to answer while this process still counts as ready, in seconds.
READY_S = 1.0


async def answers(scripts: Scripts) -> bool:
    """Say whether the store answers soon."""
    try:
        async with asyncio.timeout(READY_S):
            await scripts.ping(try_s=READY_S / PING_TRIES)
    except (RedisError, OSError, TimeoutError):
        return False
    return True


async def check_store(scripts: Scripts, *, timeout_s: float) -> None:
    """Raise NotDurable when the store is there and not set up for what was asked for."""
    try:
        await scripts.ping(try_s=timeout_s)
    except NotDurable:
        raise
    except (RedisError, OSError, TimeoutError) as error:
        # It may come later: every connection is looked at when it is made.
        log.warning("The store does not answer yet: %s", error)
