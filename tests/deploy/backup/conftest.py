"""Two machines: one that is backed up, and an empty one."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.local.redis_server import RedisServer


@pytest.fixture
async def machines(tmp_path: Path) -> AsyncIterator[tuple[RedisServer, RedisServer]]:
    """Run the Redis of the old machine, and the empty one of a new machine."""
    servers = RedisServer(tmp_path / "old"), RedisServer(tmp_path / "new")
    for server in servers:
        await server.start()
    yield servers
    for server in servers:
        await server.stop()
