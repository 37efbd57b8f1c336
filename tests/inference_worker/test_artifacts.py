"""`ctx.artifact` through everything that is real: handlers, workers, queue service, clients."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from yarl import URL

from client_sdk import AsyncQueueClient, Job, QueueClient, errors
from client_sdk.wire import names
from tests.conftest import StartService, StartWorker
from tests.inference_worker.artifact_handlers import FRAME
from tests.inference_worker.test_files_with_the_queue_service import Place, client_of
from tests.running import TOKEN, WorkerProcess
from tests.waiting import wait_until

HANDLERS = "handler:tests.inference_worker.artifact_handlers"


@pytest.fixture
async def place(start_service: StartService, tmp_path: Path) -> AsyncIterator[Place]:
    kept = tmp_path / "kept"
    service = await start_service(
        files_dir=str(kept), files_reserve_mb=0, lease_ms=2000, result_retention_ms=3_600_000
    )
    place = Place(service, kept)
    yield place
    async with AsyncQueueClient(place.service.url, "svc", token=TOKEN) as client:
        await client.truncate(2**62)
        await client.sink.truncate(2**62)
    await wait_until(lambda: not place.stored(), "the artifacts have gone with their jobs")


async def ended(client: AsyncQueueClient, data: str, **options: Any) -> Job:
    job = await client.jobs.submit(data, **options)

    async def has_ended() -> bool:
        return (await client.jobs.get(job.id)).has_ended

    await wait_until(has_ended, "the job has ended")
    return await client.jobs.get(job.id)


async def test_artifacts_are_announced_listed_fetched_and_go_with_their_job(
    place: Place, start_worker: StartWorker, tmp_path: Path
) -> None:
    await start_worker(place.service.url, engine=f"{HANDLERS}:Frames")
    async with client_of(place) as client:
        job = await ended(client, "x")
        assert await client.jobs.result(job.id) == b"9"
        found = {one.name: one for one in await client.jobs.artifacts(job.id)}
        assert {name: one.content_type for name, one in found.items()} == {
            "bytes.bin": "application/octet-stream",
            "frame-0.txt": "text/plain",
            "frame-1.txt": "text/plain",
            "frame-2.txt": "text/plain",
            "opened.txt": "text/plain",
            "picture": "image/png",
            "sound.wav": found["sound.wav"].content_type,
            "page.html": "text/html",
            "typed.dat": "application/json",
        }
        assert found["sound.wav"].content_type.startswith("audio/")
        assert job.data["artifacts"] == [dict(one.data) for one in found.values()]
        events = [one async for one in client.jobs.events(job.id) if one.kind == "artifact"]
        assert [one.data["name"] for one in events][:2] == ["bytes.bin", "frame-0.txt"]
        assert events[1].data["url"] == found["frame-0.txt"].data["url"]
        assert events[1].data["bytes"] == len("frame 0")

        target = tmp_path / "copy.bin"
        assert await client.jobs.download_artifact(job.id, "bytes.bin", target) == target
        assert target.read_bytes() == FRAME[::-1], "the second one of a name replaces the first"
        with pytest.raises(errors.NotFound, match=r"no artifact 'other': it has 'bytes\.bin'"):
            await client.jobs.download_artifact(job.id, "other", target)
        await check_http(place.service.url, found["bytes.bin"].data, found["page.html"].data)
        await asyncio.to_thread(check_blocking, place.service.url, job.id, tmp_path)
        await check_command(place.service.url, job.id, tmp_path)
        await client.jobs.delete(job.id)
        await wait_until(lambda: not place.stored(), "they have gone with the job")


async def check_http(url: str, artifact: Any, page: Any) -> None:
    async with aiohttp.ClientSession(headers={"Authorization": TOKEN}) as session:
        async with session.get(url + artifact["url"], headers={"Range": "bytes=-10"}) as answer:
            assert answer.status == 206
            assert await answer.read() == FRAME[::-1][-10:]
            etag = answer.headers["ETag"]
        async with session.get(url + artifact["url"], headers={"If-None-Match": etag}) as answer:
            assert answer.status == 304
        async with session.head(url + artifact["url"]) as answer:
            assert answer.content_length == len(FRAME)
        async with session.get(url + page["url"]) as answer:
            assert answer.content_type == "text/html"
            assert answer.headers["Content-Disposition"].startswith("attachment")
            assert "sandbox" in answer.headers["Content-Security-Policy"]
        async with session.get(url + page["url"], headers={"Authorization": "no"}) as answer:
            assert answer.status == 401


def check_blocking(url: str, job_id: str, folder: Path) -> None:
    with QueueClient(url, "svc", token=TOKEN) as client:
        assert len(client.jobs.artifacts(job_id)) == 9
        path = client.jobs.download_artifact(job_id, "typed.dat", folder / "typed.dat")
        assert path.read_bytes() == b"{}"


async def check_command(url: str, job_id: str, folder: Path) -> None:
    async def penstock(*arguments: str) -> tuple[int, str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "deploy.cli", "artifacts", "svc", job_id, *arguments),
            *("--url", url, "--token", TOKEN),
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await process.communicate()
        return process.returncode or 0, out.decode().strip()

    code, out = await penstock("--json")
    assert code == 0
    assert json.loads(out.splitlines()[0])["name"] == "bytes.bin"
    assert "image/png" in (await penstock())[1]
    one = folder / "one.txt"
    assert await penstock("frame-1.txt", "-o", str(one)) == (0, str(one))
    assert one.read_text() == "frame 1"
    assert (await penstock("frame-1.txt", "-o", str(one)))[0] == 2, "it exists"
    code, out = await penstock("--all", "-o", str(folder / "all"))
    assert code == 0
    assert len(list((folder / "all").iterdir())) == len(out.splitlines()) == 9
    assert (await penstock("../passwd"))[0] == 2
    assert (await penstock("none"))[0] == 1


@pytest.mark.parametrize(
    ("handler", "text", "expected"),
    [
        ("added_by_a_coroutine", "hello", ["only.txt"]),
        ("added_by_a_generator", "one two", ["0.txt", "1.txt"]),
    ],
)
async def test_every_kind_of_handler_adds_them(
    place: Place, start_worker: StartWorker, handler: str, text: str, expected: list[str]
) -> None:
    await start_worker(place.service.url, engine=f"{HANDLERS}:{handler}")
    async with client_of(place) as client:
        for events in (True, False):
            job = await ended(client, text, events=events)
            assert job.state == "succeeded"
            found = await client.jobs.artifacts(job.id)
            assert [one.name for one in found] == expected, "also without events"
            await client.jobs.delete(job.id)


#: What a handler gets for bad artifacts.
REFUSED: list[tuple[dict[str, str], str]] = [
    ({"name": ""}, "ValueError: artifact: expected a name such as 'frame-17.png', got ''"),
    ({"name": "a/b"}, "ValueError: artifact: expected a name without / and \\, got 'a/b'"),
    ({"name": ".."}, "does not begin with a dot, got '..'"),
    ({"name": "a\nb"}, "without control characters"),
    ({"name": "a\u202eb"}, "without control characters"),
    ({"name": "ä" * 128}, "at most 255 bytes, got 256"),
    ({"name": "a", "type": "png"}, "expected a content type such as image/png, got 'png'"),
    ({"name": "a", "type": "image/png\r\nX: y"}, "expected a content type"),
    ({"name": "a", "content": "folder"}, "IsADirectoryError"),
    ({"name": "a", "content": "text"}, "FileNotFoundError"),
    ({"name": "a", "content": "number"}, "got int; for text, pass text.encode()"),
    ({"name": "ä #?%.png"}, "added"),
]


async def test_what_is_no_artifact_is_refused_in_the_handler(
    place: Place, start_worker: StartWorker
) -> None:
    await start_worker(place.service.url, engine=f"{HANDLERS}:bad_artifact")
    async with (
        client_of(place) as client,
        aiohttp.ClientSession(headers={"Authorization": TOKEN}) as session,
    ):
        for asked, why in REFUSED:
            job = await ended(client, json.dumps(asked))
            assert why in (await client.jobs.result(job.id)).decode()
            for one in await client.jobs.artifacts(job.id):
                assert why == "added"
                url = URL(f"{place.service.url}{one.data['url']}", encoded=True)
                async with session.get(url) as answer:
                    assert await answer.read() == b"x"
            await client.jobs.delete(job.id)


async def test_a_job_has_a_number_of_artifacts_and_of_bytes(
    start_service: StartService, start_worker: StartWorker, tmp_path: Path
) -> None:
    service = await start_service(
        {"name": "svc", "max_file_mb": 1}, files_dir=str(tmp_path / "kept"), files_reserve_mb=0
    )
    await start_worker(service.url, engine=f"{HANDLERS}:many")
    async with AsyncQueueClient(service.url, "svc", token=TOKEN) as client:
        job = await ended(client, '{"count": 257, "bytes": 1}')
        assert "at most 256 artifacts" in (await client.jobs.result(job.id)).decode()
        assert len(await client.jobs.artifacts(job.id)) == 256
        await client.jobs.delete(job.id)
        job = await ended(client, '{"count": 3, "bytes": 500000}')
        said = (await client.jobs.result(job.id)).decode()
        assert "more bytes for this job, got 500000" in said
        await client.jobs.delete(job.id)


async def test_a_killed_attempt_leaves_nothing_beside_what_the_next_one_adds(
    place: Place, start_worker: StartWorker
) -> None:
    async def worker() -> WorkerProcess:
        return await start_worker(place.service.url, engine=f"{HANDLERS}:until_killed")

    first = await worker()
    async with client_of(place) as client:
        job = await client.jobs.submit("x")

        async def has_both() -> bool:
            return len(await client.jobs.artifacts(job.id)) == 2

        await wait_until(has_both, "they can be seen while the job runs")
        first.kill_all()
        await worker()
        assert await client.jobs.result(job.id, timeout_s=60) == b"x"
        found = [one.name for one in await client.jobs.artifacts(job.id)]
        assert found == ["attempt-2.txt", "newest.txt"]
        await wait_until(lambda: len(place.stored()) == 2, "those of the first attempt have gone")
        await client.jobs.delete(job.id)


async def test_a_replaced_artifact_leaves_nothing(
    place: Place, start_worker: StartWorker, tmp_path: Path
) -> None:
    await start_worker(place.service.url, engine=f"{HANDLERS}:previews")
    async with client_of(place) as client:
        job = await ended(client, "x")
        await wait_until(lambda: len(place.stored()) == 1, "only the newest is stored")
        copy = await client.jobs.download_artifact(job.id, "preview.txt", tmp_path / "copy.txt")
        assert copy.read_bytes() == b"x 49"
        await client.jobs.delete(job.id)


async def test_a_failed_attempt_leaves_nothing(place: Place, start_worker: StartWorker) -> None:
    await start_worker(place.service.url, engine=f"{HANDLERS}:fails_first")
    async with client_of(place) as client:
        job = await ended(client, "x", retry={"max_attempts": 2, "first_pause_s": 0.0})
        assert job.state == "succeeded"
        assert await client.jobs.artifacts(job.id) == []
        await wait_until(lambda: not place.stored(), "that of the first attempt has gone")
        await client.jobs.delete(job.id)


async def test_a_service_that_keeps_no_files_says_so_and_the_job_goes_on(
    start_service: StartService, start_worker: StartWorker
) -> None:
    service = await start_service()
    worker = await start_worker(service.url, engine=f"{HANDLERS}:added_by_a_generator")
    async with AsyncQueueClient(service.url, "svc", token=TOKEN) as client:
        assert await client.jobs.run("one two", timeout_s=60) == b"onetwo"
    assert worker.log.count("are not kept, beginning with '0.txt'") == 1
    assert "PENSTOCK_FILES_DIR" in worker.log


async def test_an_eas_client_notices_nothing(place: Place, start_worker: StartWorker) -> None:
    worker = await start_worker(place.service.url, engine=f"{HANDLERS}:Frames")
    async with client_of(place) as client:
        receipt = await client.put("x")
        (frame,) = await client.sink.get(request_id=receipt.request_id, timeout_s=60)
        assert frame.data == b"9"
        assert set(frame.tags) <= {names.REQUEST_ID_TAG}
    assert "or the job came over the EAS protocol" in worker.log
