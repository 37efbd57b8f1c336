"""A service that keeps files."""

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from redis.asyncio import Redis

from client_sdk.wire import names
from tests.conftest import Serve
from tests.queue_service.web.files.place import Place
from tests.running import TOKEN
from tests.waiting import wait_until


@pytest.fixture
async def place(
    serve: Serve, tmp_path: Path, redis: "Redis", key_prefix: str
) -> AsyncIterator[Place]:
    folder = tmp_path / "files"
    url = await serve({"name": "svc"}, files_dir=str(folder), files_reserve_mb=0)
    async with aiohttp.ClientSession(headers={"Authorization": TOKEN}) as session:
        place = Place(session, url, folder, redis, key_prefix)
        yield place
        everything = {names.TRUNCATE: "true", names.INDEX: str(2**62)}
        for queue in (place.queue, f"{place.queue}/{names.SINK}"):
            await place.ask("DELETE", queue, params=everything)
        await wait_until(place.is_empty, "the files went with their entries")
