"""Processes of the queue service on which services are made at run time."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.conftest import Serve, StartService
from tests.queue_service.service.replica import TOKEN, Replica
from tests.running import QueueServiceProcess


@pytest.fixture
async def processes_of_one(start_service: StartService) -> list[QueueServiceProcess]:
    return [await start_service({"name": "fixed"}) for _ in range(2)]


@pytest.fixture
async def pair(
    processes_of_one: list[QueueServiceProcess], session: aiohttp.ClientSession
) -> AsyncIterator[tuple[Replica, Replica]]:
    """Run two processes on one Redis, and delete every service that was made at run time."""
    one, two = (Replica(session, service.url) for service in processes_of_one)
    yield one, two
    for service in (await one.admin("GET")).body["services"]:
        if service["origin"] == "registry":
            assert (await one.admin("DELETE", f"/{service['name']}")).status == 200


@pytest.fixture
async def alone(serve: Serve, session: aiohttp.ClientSession) -> AsyncIterator[Replica]:
    """Serve in this process, with the service `new`."""
    replica = Replica(session, await serve({"name": "fixed"}))
    made = await replica.admin("PUT", "/new", {"token": TOKEN})
    assert made.status == 201, made
    yield replica
    await replica.admin("DELETE", "/new")
