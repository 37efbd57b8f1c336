"""A queue service whose jobs are tested: one process, and a service of its own for each test."""

import itertools
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest

from tests.leaks import Allowed, wait_for_no_leaks
from tests.queue_service.web.jobs.api import JobsApi
from tests.running import TOKEN, QueueServiceProcess, ServerProcess, running_service

KEY_PREFIX = "test-jobs"
SERVICES = 200
_numbers = itertools.count()


@pytest.fixture(scope="package")
def jobs_service(
    redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[QueueServiceProcess]:
    with running_service(
        tmp_path_factory.mktemp("jobs") / "service.log",
        redis_url=redis_url,
        key_prefix=KEY_PREFIX,
        services=[{"name": f"svc{number}"} for number in range(SERVICES)],
        result_retention_ms=3_600_000,
    ) as service:
        yield service
        wait_for_no_leaks(redis_url, KEY_PREFIX, allowed=Allowed(entries=True))


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(
        headers={"Authorization": TOKEN}, connector=aiohttp.TCPConnector(limit=0)
    ) as opened:
        yield opened


@pytest.fixture
async def api(
    session: aiohttp.ClientSession,
    jobs_service: QueueServiceProcess,
    workers: list[ServerProcess],
) -> JobsApi:
    """The jobs of a service that no other test has; its results are kept for an hour."""
    number = next(_numbers)
    assert number < SERVICES, "every service has had its test: raise SERVICES"
    return JobsApi(session, jobs_service.url, f"svc{number}")
