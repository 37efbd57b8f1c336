"""A real worker and a handler that fails: what follows is what the policy says."""

from datetime import datetime

import pytest

from tests.conftest import StartWorker
from tests.queue_service.web.jobs.api import Answer, JobsApi, Sent

pytestmark = pytest.mark.leaves_entries

ENGINE = "handler:tests.queue_service.web.jobs.failing_handler:Handler"


async def run(
    api: JobsApi, start_worker: StartWorker, kind: str
) -> tuple[Answer, list[Sent], float]:
    """Run one job to its end: what came of it, its failed attempts, and how long it took."""
    await start_worker(api.url, api.service, engine=ENGINE)
    job_id = await api.submit(kind.encode(), params={"retry_jitter": "0"})
    result = await api.call("GET", f"/{job_id}/result", params={"wait": "60s"})
    failed = [event async for event in api.events(job_id) if event.kind == "failed"]
    job = await api.job(job_id)
    ended, created = (datetime.fromisoformat(job[name]) for name in ("ended_at", "created_at"))
    return result, failed, (ended - created).total_seconds()


@pytest.mark.parametrize(
    ("kind", "named", "pause_s"),
    [("oom", "oom", 0.0), ("asks", "transient", 1.5), ("breaks", "internal", 1.0)],
)
async def test_a_failed_attempt_is_followed_by_another_after_its_pause(
    api: JobsApi, start_worker: StartWorker, kind: str, named: str, pause_s: float
) -> None:
    result, failed, took_s = await run(api, start_worker, kind)
    assert (result.status, result.body) == (200, f"{kind} 2".encode())
    assert [(one.data["type"], one.data["pause_s"]) for one in failed] == [(named, pause_s)]
    assert took_s >= pause_s


async def test_a_bad_input_is_answered_at_once(api: JobsApi, start_worker: StartWorker) -> None:
    result, failed, _ = await run(api, start_worker, "bad")
    error = {"type": "bad_input", "code": "BadInput", "message": "no such thing"}
    assert (result.status, result.json["error"]) == (409, error)
    last = {"pause_s": None, "next_attempt_at": None, "attempt": 1}
    assert [one.data for one in failed] == [{**error, **last}]
