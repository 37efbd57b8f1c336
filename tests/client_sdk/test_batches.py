"""Batches of the SDK: made of anything with lines, waited for, their results read in any state."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from client_sdk import AsyncQueueClient, QueueClient, RetryPolicy, errors
from client_sdk.batch_calls import BatchInfo
from tests.client_sdk.peers import CUT_OFF, HttpPeer, answer, serving
from tests.conftest import StartService, StartWorker
from tests.running import TOKEN, QueueServiceProcess, running_service
from tests.waiting import wait_until

FAST = RetryPolicy(retries=4, first_delay_s=0.001, most_delay_s=0.01)
OBEDIENT = "handler:tests.queue_service.web.batches.handlers:Obedient"


def request(number: int, text: str = "hello") -> dict[str, Any]:
    body = {"model": "svc", "messages": [{"role": "user", "content": text}]}
    return {"custom_id": f"line-{number}", "body": body}


def whole(number: int) -> str:
    return json.dumps({**request(number), "method": "POST", "url": "/v1/chat/completions"})


async def coming() -> AsyncIterator[dict[str, Any]]:
    for number in range(3):
        yield request(number)


@pytest.fixture
async def service(start_service: StartService, tmp_path: Path) -> QueueServiceProcess:
    return await start_service(files_dir=str(tmp_path / "kept"), files_reserve_mb=0)


@pytest.fixture
async def client(service: QueueServiceProcess) -> AsyncIterator[AsyncQueueClient]:
    async with AsyncQueueClient(service.url, "svc", token=TOKEN) as client:
        yield client
        async for file in client.files.list():
            await client.files.delete(file.id)


async def test_a_batch_is_made_of_a_path_of_lines_or_of_a_file(
    client: AsyncQueueClient,
    service: QueueServiceProcess,
    start_worker: StartWorker,
    tmp_path: Path,
) -> None:
    await start_worker(service.url, engine="echo")
    path = tmp_path / "lines.jsonl"
    path.write_text("".join(f"{whole(number)}\n" for number in range(3)))
    sent: list[tuple[int, int | None]] = []
    file = await client.files.upload(path, purpose="batch")
    made = [
        await client.batches.create(path, on_progress=lambda *at: sent.append(at)),
        await client.batches.create(str(path), metadata={"of": "the night"}),
        await client.batches.create([request(number) for number in range(3)]),
        await client.batches.create(whole(number) for number in range(3)),
        await client.batches.create(coming()),
        await client.batches.create(file_id=file.id, completion_window="1h"),
    ]
    size = path.stat().st_size
    assert sent[-1] == (size, size)
    for one in made:
        ended = await client.batches.wait(one.id, timeout_s=60)
        assert (ended.status, ended.total, ended.completed) == ("completed", 3, 3)
        found = [result async for result in client.batches.results(one.id)]
        assert sorted(result.custom_id for result in found) == ["line-0", "line-1", "line-2"]
        assert {result.status for result in found} == {200}
        assert found[0].body["choices"][0]["message"]["content"] == "hello"
    assert made[1].data["metadata"] == {"of": "the night"}
    listed = [one.id async for one in client.batches.list()]
    assert listed == [one.id for one in reversed(made)]
    assert (await client.batches.get(made[0].id)).has_ended
    with pytest.raises(errors.JobEnded):
        await client.batches.cancel(made[0].id)
    with pytest.raises(errors.NotFound):
        await client.batches.get("batch_unknown")


async def test_what_cannot_be_a_batch_leaves_nothing(client: AsyncQueueClient) -> None:
    create = client.batches.create
    with pytest.raises(errors.BadParameter, match="either lines or a file_id"):
        await create()
    with pytest.raises(errors.BadParameter, match="either lines or a file_id"):
        await create([], file_id="file_x")
    with pytest.raises(errors.BadParameter, match="an iterable of lines, got bytes"):
        await create(b"{}")  # type: ignore[arg-type]
    with pytest.raises(errors.BadParameter, match="line 2: expected a mapping, text or bytes"):
        await create([request(0), 3])  # type: ignore[list-item]
    with pytest.raises(errors.BadParameter, match="line 1: expected one line, got several"):
        await create(["{}\n{}"])
    with pytest.raises(errors.BadParameter, match="line 1: expected JSON, Out of range"):
        await create([{"body": float("nan")}])
    with pytest.raises(errors.BadParameter, match="completion_window"):
        await create([request(0)], completion_window="soon")
    with pytest.raises(errors.NoSuchService):
        await create([{**request(0), "body": {**request(0)["body"], "model": "other"}}])
    with pytest.raises(errors.NotFound):
        await create(file_id="file_00000000000000000000000000000000")
    assert [file async for file in client.files.list()] == []
    assert [one async for one in client.batches.list()] == []


async def test_results_are_read_while_it_runs_and_followed_to_the_end(
    client: AsyncQueueClient,
    service: QueueServiceProcess,
    start_worker: StartWorker,
    tmp_path: Path,
) -> None:
    going, target = tmp_path / "going", tmp_path / "answers.jsonl"
    await start_worker(service.url, engine=OBEDIENT)
    lines = [request(0), request(1, "fail"), request(2, f"wait {going}")]
    made = await client.batches.create(lines)
    reports: list[BatchInfo] = []
    with pytest.raises(errors.NotInTime, match="goes on"):
        await client.batches.wait(made.id, timeout_s=0)

    async def two_done() -> bool:
        found = await client.batches.get(made.id)
        return found.completed + found.failed == 2

    await wait_until(two_done, "what nothing holds is done")
    found = {one.custom_id: one async for one in client.batches.results(made.id)}
    assert {name: one.succeeded for name, one in found.items()} == {
        "line-0": True,
        "line-1": False,
    }
    assert found["line-1"].status == 400
    await client.batches.download(made.id, target)
    assert [json.loads(one)["custom_id"] for one in target.read_text().splitlines()] == ["line-0"]

    followed = client.batches.results(made.id, follow=True)
    seen = {(await anext(followed)).custom_id for _ in range(2)}
    going.touch()
    seen |= {one.custom_id async for one in followed}
    assert seen == {"line-0", "line-1", "line-2"}
    ended = await client.batches.wait(made.id, on_progress=reports.append)
    assert reports == [ended]
    assert await client.batches.download(made.id, str(target)) == target
    assert [json.loads(one)["custom_id"] for one in target.read_text().splitlines()] == [
        "line-0",
        "line-2",
    ]
    # The errors are another file, whatever is there.
    await client.batches.download(made.id, target, errors=True)
    assert [json.loads(one)["custom_id"] for one in target.read_text().splitlines()] == ["line-1"]
    assert [name for name in os.listdir(tmp_path) if "jsonl" in name] == ["answers.jsonl"]


def result_line(number: int, batch: str = "b", status: int = 200) -> bytes:
    response = {"status_code": status, "request_id": f"batch_{batch}-{number}", "body": "é" * 9}
    fields = {"id": f"batch_req_{batch}_{number}", "custom_id": str(number), "error": None}
    return json.dumps({**fields, "response": response}).encode() + b"\n"


RESULTS = b"".join(result_line(number) for number in range(1000, 2000))


class Shelf:
    """Sends the results of batch `b` from a byte on, and breaks off after some bytes."""

    def __init__(self, *, cut_after: int = len(RESULTS), ignores_ranges: bool = False) -> None:
        self.asked: list[str] = []
        self.cut_after = cut_after
        self.ignores_ranges = ignores_ranges

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.headers.get("Range", ""))
        start = int(self.asked[-1].removeprefix("bytes=").removesuffix("-") or 0)
        if self.ignores_ranges:
            start, self.cut_after = 0, 2 * self.cut_after
        if start >= len(RESULTS):
            return web.Response(status=416)
        response = web.StreamResponse(status=206 if start else 200)
        response.content_length = len(RESULTS) - start
        await response.prepare(request)
        end = start + self.cut_after
        await response.write(RESULTS[start:end])
        if end < len(RESULTS):
            assert request.transport is not None
            request.transport.close()
        return response


@pytest.mark.parametrize("ignores_ranges", [False, True])
async def test_a_download_goes_on_where_the_connection_broke(
    tmp_path: Path, ignores_ranges: bool
) -> None:
    shelf, target = Shelf(cut_after=40_000, ignores_ranges=ignores_ranges), tmp_path / "f"
    progress: list[tuple[int, int | None]] = []
    async with serving(shelf.handle) as url, AsyncQueueClient(url, "svc", retry=FAST) as client:
        await client.batches.download(
            "batch_b", target, on_progress=lambda *at: progress.append(at)
        )
    assert target.read_bytes() == RESULTS
    assert os.listdir(tmp_path) == ["f"]
    assert len(shelf.asked) > 2
    assert progress[-1] == (len(RESULTS), len(RESULTS))


LINE = len(result_line(1000))


@pytest.mark.parametrize(
    ("left", "begins_at"),
    [
        (RESULTS[: 10 * LINE], 10 * LINE),
        (RESULTS[: 10 * LINE - 1], 9 * LINE),
        (RESULTS[: LINE - 1], 0),
        (RESULTS, len(RESULTS)),
        (result_line(0, batch="other"), 0),
        (result_line(0, status=500), 0),
        (b"something else\n", 0),
        (b"", 0),
    ],
)
@pytest.mark.parametrize("where", ["f", ".f.part"])
async def test_an_interrupted_download_goes_on_after_the_last_whole_line(
    tmp_path: Path, left: bytes, begins_at: int, where: str
) -> None:
    shelf, target = Shelf(), tmp_path / "f"
    (tmp_path / where).write_bytes(left)
    async with serving(shelf.handle) as url, AsyncQueueClient(url, "svc", retry=FAST) as client:
        await client.batches.download("batch_b", target)
    assert target.read_bytes() == RESULTS
    assert shelf.asked == [f"bytes={begins_at}-" if begins_at else ""]
    assert os.listdir(tmp_path) == ["f"]


async def test_a_failed_download_changes_nothing_that_is_there(tmp_path: Path) -> None:
    target = tmp_path / "f"
    target.write_bytes(result_line(0, batch="other"))
    peer = HttpPeer([answer(404, b"{}", Error_Code="NOT_FOUND")])
    async with serving(peer.handle) as url, AsyncQueueClient(url, "svc", retry=FAST) as client:
        with pytest.raises(errors.NotFound):
            await client.batches.download("batch_b", target)
        with pytest.raises(errors.BadParameter, match="expected the name of a file"):
            await client.batches.download("batch_b", tmp_path)
        with pytest.raises(FileNotFoundError):
            await client.batches.download("batch_b", tmp_path / "no" / "where")
    assert target.read_bytes() == result_line(0, batch="other")


async def test_two_downloads_of_one_file_do_not_mix(tmp_path: Path) -> None:
    shelf, target = Shelf(), tmp_path / "f"
    async with serving(shelf.handle) as url, AsyncQueueClient(url, "svc", retry=FAST) as client:

        async def second() -> None:
            with pytest.raises(errors.BadParameter, match="another download is writing"):
                await client.batches.download("batch_b", target)

        tasks: list[asyncio.Task[None]] = []

        def begin(*_: object) -> None:
            tasks.append(asyncio.create_task(second()))

        await client.batches.download("batch_b", target, on_progress=begin)
        await asyncio.gather(*tasks, return_exceptions=True)
    assert target.read_bytes() == RESULTS


async def test_a_wait_goes_on_through_an_outage(tmp_path: Path) -> None:
    counts = {"total": 3, "completed": 3, "failed": 0}
    ended: dict[str, Any] = {
        "id": "b",
        "status": "completed",
        "endpoint": "/v1",
        "request_counts": counts,
    }
    ended |= {"created_at": 1, "expires_at": 2}
    broken: list[web.Response | str] = [CUT_OFF] * 12
    peer = HttpPeer([*broken, answer(200, json.dumps(ended).encode())])
    told: list[errors.QueueError] = []
    async with serving(peer.handle) as url, AsyncQueueClient(url, "svc", retry=FAST) as client:
        found = await client.batches.wait("b", on_wait=told.append)
        assert (found.status, found.completed) == ("completed", 3)
        assert told
        peer.answers = [CUT_OFF] * 12
        with pytest.raises(errors.QueueError):
            await client.batches.wait("b", patience_s=0)


def test_a_script_makes_a_batch_and_reads_its_results(
    redis_url: str, key_prefix: str, tmp_path: Path
) -> None:
    with (
        running_service(
            tmp_path / "service.log",
            redis_url=redis_url,
            key_prefix=key_prefix,
            services=[{"name": "svc"}],
            files_dir=str(tmp_path / "kept"),
            files_reserve_mb=0,
        ) as service,
        QueueClient(service.url, "svc", token=TOKEN) as client,
    ):
        made = client.batches.create([request(0)], completion_window="1s")
        assert [one.id for one in client.batches.list()] == [made.id]
        assert client.batches.wait(made.id).status == "expired"
        assert client.batches.get(made.id).failed == 1
        (result,) = client.batches.results(made.id)
        assert result.error is not None
        assert (result.status, result.error["code"]) == (None, "batch_expired")
        errors_file = client.batches.download(made.id, tmp_path / "errors", errors=True)
        assert json.loads(errors_file.read_text())["custom_id"] == "line-0"
        with pytest.raises(errors.JobEnded):
            client.batches.cancel(made.id)
        for file in client.files.list():
            client.files.delete(file.id)
