"""A queue whose store the test calls itself."""

from collections.abc import AsyncIterator, Callable

import pytest

from queue_service.settings.process import Settings
from queue_service.store.connection import confirmation_for, connect
from queue_service.store.keys import Keys
from queue_service.store.scripts import Scripts
from tests.fair.shop import SERVICE, Shop
from tests.leaks import find_leaks


@pytest.fixture
async def shop(redis_url: str, key_prefix: str) -> AsyncIterator[Shop]:
    """The queue; in the end it is emptied, and nothing may be left of it."""
    settings = Settings(redis_url=redis_url, key_prefix=key_prefix)
    confirmation = confirmation_for(settings)
    servers = connect(settings, confirmation)
    # Redis syncs its file with every write: a disk that is busy with others keeps it for a while.
    made = Shop(Scripts(servers, confirmation, timeout_s=30.0), Keys(key_prefix, SERVICE))
    try:
        yield made
        await made.empty()
        leaks = [leak for leak in find_leaks(redis_url, key_prefix) if ":tickets" not in leak]
        assert not leaks
    finally:
        await servers.aclose()


@pytest.fixture
def differences(redis_url: str, key_prefix: str) -> Callable[[], list[str]]:
    """Say which sums of the queue are not what they sum up."""

    def find() -> list[str]:
        found = find_leaks(redis_url, key_prefix)
        return [text for text in found if " says " in text or "lines are open" in text]

    return find
