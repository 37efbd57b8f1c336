"""The token of a service's workers: it lets them work, and do nothing else."""

import asyncio
import re
import stat
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from client_sdk import AsyncQueueClient
from queue_service.service.access import Scope
from queue_service.settings.process import Settings
from tests.conftest import Serve, StartService, StartWorker
from tests.queue_service.web.test_every_route import _OPENAI, ADMIN, EAS, SCOPES, _path
from tests.running import ADMIN_TOKEN, START_S, TOKEN, QueueServiceProcess
from tests.waiting import wait_until

WORKERS = "a-token-for-workers"
WORK = "/v1/services/svc/work"


async def status_of(
    session: aiohttp.ClientSession, method: str, url: str, token: str, **more: object
) -> int:
    headers = {"Authorization": token}
    timeout = aiohttp.ClientTimeout(total=10)
    async with session.request(method, url, headers=headers, json=more, timeout=timeout) as answer:
        return answer.status


async def test_it_works_and_does_nothing_else_on_any_route(serve: Serve) -> None:
    url = await serve({"name": "svc", "worker_token": WORKERS}, {"name": "other"})
    asked = {(m, _path(p)): s for (m, p), s in SCOPES.items()}
    asked |= {(m, f"/api/predict/{p}"): s for (m, p), s in EAS.items() if "_watch_" not in p}
    asked |= {(m, _path(p)): set[Scope]() for m, p in ADMIN}
    async with aiohttp.ClientSession() as session:
        for (method, path), scopes in asked.items():
            body = {"model": "svc"} if _OPENAI.match(path) else {}
            if path.startswith("/v1/models"):
                body = {}
            status = await status_of(session, method, url + path, WORKERS, **body)
            allowed = Scope.WORK in scopes
            assert (status not in (401, 403)) is allowed, (method, path, status)
        for path in ("/api/predict/other", "/v1/services/other/work"):
            assert await status_of(session, "GET", url + path, WORKERS) == 401
        await status_of(session, "DELETE", f"{url}/api/predict/svc/sink?_indexes_=1", TOKEN)
        truncate = f"{url}/api/predict/svc/sink?_trunc_=true&_index_=9223372036854775807"
        await status_of(session, "DELETE", truncate, TOKEN)


async def test_another_token_ends_the_workers_of_the_old_one_and_nobody_else(
    start_service: StartService, start_worker: StartWorker
) -> None:
    url = (await start_service({"name": "fixed"})).url
    service = f"{url}/v1/services/svc"
    async with aiohttp.ClientSession(headers={"Authorization": ADMIN_TOKEN}) as session:
        async with session.put(service, json={}) as answer:
            made = await answer.json()
            assert answer.status == 201
            assert made["token"] != made["worker_token"]
        worker = await start_worker(url, token=made["worker_token"])
        async with AsyncQueueClient(url, "svc", token=made["token"]) as client:
            jobs = client.jobs
            assert await jobs.result((await jobs.submit(b"one")).id, timeout_s=20) is not None
            # What is not mentioned stays: both tokens are as they were, and nobody notices.
            async with session.put(service, json={"max_delivery": 3}) as answer:
                assert "worker_token" not in await answer.json()
            assert await jobs.result((await jobs.submit(b"two")).id, timeout_s=20) is not None
            async with session.put(service, json={"worker_token": "another"}) as answer:
                assert answer.status == 200
                assert "another" not in await answer.text()
            await wait_until(lambda: not worker.running, "the old token ends it", START_S)
            assert "UNAUTHORIZED" in worker.log
            assert await client.attributes()
        async with session.delete(service) as answer:
            assert answer.status == 200


def test_it_is_another_one_than_that_of_the_clients() -> None:
    same = [{"name": "svc", "token": "same", "worker_token": "same"}]
    with pytest.raises(ValueError, match="expected another one than token"):
        Settings(services=same)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_tokens_that_nobody_names_are_made_once_and_shown_in_the_log(
    start_service: StartService, start_worker: StartWorker, tmp_path: Path
) -> None:
    folders: dict[str, Any] = {
        "token_dir": tmp_path / "tokens",
        "worker_token_dir": tmp_path / "workers",
    }
    first, second = await asyncio.gather(
        *(start_service({"name": "svc", "token": ""}, **folders) for _ in range(2))
    )
    token, workers = (folder / "svc" for folder in folders.values())
    assert (mode(token), mode(workers), mode(token.parent)) == (0o600, 0o600, 0o700)
    assert [path.name for path in token.parent.iterdir()] == ["svc"]
    assert str(token) in first.log
    assert token.read_text().strip() not in first.log

    async def admits(service: QueueServiceProcess, text: str) -> bool:
        url = f"{service.url}/api/predict/svc?_attrs_=true"
        async with aiohttp.ClientSession() as session:
            return await status_of(session, "GET", url, text) == 200

    for service in (first, second):
        assert await admits(service, token.read_text().strip())
        assert await admits(service, workers.read_text().strip())
        assert not await admits(service, "")
    await start_worker(first.url, token="", token_file=workers)
    async with AsyncQueueClient(first.url, "svc", token=token.read_text().strip()) as client:
        job = await client.jobs.submit(b"hello")
        assert await client.jobs.result(job.id, timeout_s=20) is not None
        await client.jobs.delete(job.id)


async def test_an_empty_file_of_a_token_opens_nothing(
    start_service: StartService, tmp_path: Path
) -> None:
    (tmp_path / "svc").write_text("\n")
    service = await start_service({"name": "svc", "token": ""}, token_dir=tmp_path, wait=False)
    await wait_until(lambda: not service.running, "it refuses to start", START_S)
    assert re.search(r"setting token_dir: .*svc: expected a token, got an empty file", service.log)
    service.log_path.write_text("")


@pytest.mark.parametrize("said", ["", "missing"])
async def test_a_worker_without_its_file_says_which_it_misses(
    service: QueueServiceProcess, start_worker: StartWorker, tmp_path: Path, said: str
) -> None:
    path = tmp_path / "token"
    if not said:
        path.write_text("")
    with pytest.raises(RuntimeError, match=f"PENSTOCK_WORKER_TOKEN_FILE: .*{path}"):
        await start_worker(service.url, token="", token_file=path)
