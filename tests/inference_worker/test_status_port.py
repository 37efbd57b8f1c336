"""The worker's own port, and web pages that look for it."""

import aiohttp
import pytest

from tests.conftest import StartWorker
from tests.running import QueueServiceProcess


async def test_the_port_answers_its_names_and_no_page_of_another_site(
    service: QueueServiceProcess, start_worker: StartWorker
) -> None:
    worker = await start_worker(service.url, allowed_hosts="inference-worker, .corp.test")
    evil = "http://evil.example"
    async with aiohttp.ClientSession() as session:
        for path in ("/metrics", "/healthz", "/readyz"):
            url = worker.metrics_url.replace("/metrics", path)
            for headers, status in (
                ({}, 200),
                ({"Host": "inference-worker:9090"}, 200),
                ({"Host": "a.corp.test"}, 200),
                ({"Host": "evil.example"}, 421),
                ({"Host": "evil.example", "Origin": evil}, 421),
                ({"Origin": evil}, 403),
                ({"Origin": "null"}, 403),
                ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403),
            ):
                async with session.get(url, headers=headers) as answer:
                    assert answer.status == status, (path, headers)
                    if status == 421:
                        assert "PENSTOCK_WORKER_ALLOWED_HOSTS" in await answer.text()


@pytest.mark.parametrize("hosts", ["http://x", "a b"])
async def test_what_is_no_host_is_named_at_the_start(
    service: QueueServiceProcess, start_worker: StartWorker, hosts: str
) -> None:
    with pytest.raises(RuntimeError, match="without a port"):
        await start_worker(service.url, allowed_hosts=hosts)
