"""Videos by OpenAI's own client, unchanged."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import openai
import pytest

from client_sdk.wire.media import MediaPath
from queue_service.web.openai.media_asked import media_asked
from queue_service.web.openai.video_jobs import about_of
from tests.conftest import StartService, StartWorker
from tests.queue_service.web.openai.media_server import MediaServer
from tests.running import ADMIN_TOKEN, TOKEN, QueueServiceProcess
from tests.waiting import wait_until

FILMER = "handler:tests.queue_service.web.openai.media_handlers:Filmer"

# OpenAI has deprecated its own videos; the client warns.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.leaves_entries,
]


@pytest.fixture
async def service(start_service: StartService, tmp_path: Path) -> QueueServiceProcess:
    services: list[dict[str, object]] = [
        {"name": name, "token": TOKEN} for name in ("films", "other")
    ]
    return await start_service(*services, files_dir=str(tmp_path / "kept"), files_reserve_mb=0)


@pytest.fixture
async def client(service: QueueServiceProcess) -> AsyncIterator[Any]:
    async with openai.AsyncOpenAI(
        base_url=f"{service.url}/v1", api_key=TOKEN, max_retries=0, timeout=120
    ) as opened:
        yield opened


async def test_a_video_is_created_polled_and_fetched(
    service: QueueServiceProcess, client: Any, start_worker: StartWorker
) -> None:
    await start_worker(service.url, "films", engine=FILMER)
    for size in ("20x20", "400x400"):
        width = int(size.partition("x")[0])
        video = await client.videos.create_and_poll(
            model="films",
            prompt="a cat",
            seconds="8",
            size=size,
            input_reference=("still.png", b"still"),
            poll_interval_ms=50,
        )
        assert (video.status, video.progress, video.object) == ("completed", 100, "video")
        assert (video.model, video.seconds, video.size) == ("films", "8", size)
        assert (video.prompt, video.error) == ("a cat", None)
        assert video.created_at <= video.completed_at < video.expires_at
        content = await client.videos.download_content(video.id)
        assert content.content == (b"still8" + bytes(width**2))[: width**2]
        assert content.response.headers["content-type"] == "video/mp4"
        part = await client.videos.download_content(video.id, extra_headers={"Range": "bytes=2-5"})
        assert (part.response.status_code, part.content) == (206, b"ill8")
        last = await client.videos.download_content(video.id, extra_headers={"Range": "bytes=-3"})
        assert last.content == bytes(3)
        with pytest.raises(openai.APIStatusError) as beyond:
            await client.videos.download_content(video.id, extra_headers={"Range": "bytes=999999-"})
        assert beyond.value.status_code == 416
        with pytest.raises(openai.BadRequestError, match="variant"):
            await client.videos.download_content(video.id, variant="thumbnail")


async def test_it_is_queued_in_progress_and_completed_and_may_be_deleted(
    service: QueueServiceProcess, client: Any, start_worker: StartWorker, tmp_path: Path
) -> None:
    gate, closed = tmp_path / "gate", tmp_path / "closed"
    first = await client.videos.create(model="films", prompt=str(gate))
    second = await client.videos.create(model="films", prompt=str(closed))
    assert (first.status, first.progress) == ("queued", 0)
    with pytest.raises(openai.ConflictError, match="one that is queued"):
        await client.videos.download_content(first.id)
    worker = await start_worker(service.url, "films", engine=FILMER)

    async def is_quarter_done() -> bool:
        video = await client.videos.retrieve(first.id)
        return (video.status, video.progress) == ("in_progress", 25)

    await wait_until(is_quarter_done, "the first one is in progress")
    assert (await client.videos.delete(second.id)).deleted
    gate.touch()

    async def is_done() -> bool:
        return bool((await client.videos.retrieve(first.id)).status == "completed")

    await wait_until(is_done, "the first one is completed")
    await worker.stop()
    third = await client.videos.create(model="films", prompt="c")
    listed = await client.videos.list()
    assert [one.id for one in listed.data] == [third.id, first.id]
    ascending = [one.id async for one in client.videos.list(order="asc", limit=1)]
    assert ascending == [first.id, third.id]
    for one in (first, third):
        assert (await client.videos.delete(one.id)).deleted
        with pytest.raises(openai.NotFoundError):
            await client.videos.retrieve(one.id)
    assert not (await client.videos.list()).data


async def test_failures_and_what_does_not_exist_are_said(
    service: QueueServiceProcess, client: Any, start_worker: StartWorker
) -> None:
    await start_worker(service.url, "films", engine=FILMER)
    failed = await client.videos.create_and_poll(model="films", prompt="fail", poll_interval_ms=50)
    assert (failed.status, failed.error.code) == ("failed", "BadInput")
    with pytest.raises(openai.BadRequestError, match="expected another one"):
        await client.videos.download_content(failed.id)
    wrong = await client.videos.create_and_poll(
        model="films", prompt="x", extra_body={"fps": "3"}, poll_interval_ms=50
    )
    assert (wrong.status, wrong.error.code) == ("failed", "BadInput")
    with pytest.raises(openai.APIStatusError, match="cannot be remixed") as refused:
        await client.videos.remix(failed.id, prompt="a dog")
    assert refused.value.status_code == 501
    job = failed.id.removeprefix("video_").removesuffix("_films")
    for video_id in ("x", f"video_{job}_none", f"video_{job}_other", "video_"):
        with pytest.raises(openai.NotFoundError):
            await client.videos.retrieve(video_id)
    # A job that is no video is none.
    async with aiohttp.ClientSession(headers={"Authorization": TOKEN}) as session:
        async with session.post(
            f"{service.url}/v1/services/films/jobs", data=b'{"prompt": "a"}'
        ) as put:
            plain = (await put.json())["id"]
        async with session.get(f"{service.url}/v1/videos/video_{plain}_films") as none:
            assert none.status == 404


def test_long_texts_of_a_request_do_not_fill_its_ticket() -> None:
    long = "x" * 1_000_000
    fields = {"model": f"svc/{long}", "prompt": long, "seconds": long, "size": long}
    assert len(about_of(media_asked(MediaPath.VIDEOS, fields))) < 4000


async def test_the_videos_of_another_owner_are_unknown(
    service: QueueServiceProcess, client: Any
) -> None:
    video = await client.videos.create(model="films", prompt="a")
    async with aiohttp.ClientSession(headers={"Authorization": ADMIN_TOKEN}) as session:
        wanted = {"scopes": ["submit"], "services": ["films"]}
        async with session.post(f"{service.url}/v1/tokens", json=wanted) as made:
            token = (await made.json())["token"]
    foreign: Any = client.with_options(api_key=token)
    own = await foreign.videos.create(model="films", prompt="b")
    assert [one.id for one in (await foreign.videos.list()).data] == [own.id]
    assert [one.id for one in (await client.videos.list()).data] == [video.id]
    for ask in (foreign.videos.retrieve, foreign.videos.delete, foreign.videos.download_content):
        with pytest.raises(openai.NotFoundError):
            await ask(video.id)
    with pytest.raises(openai.PermissionDeniedError):
        await foreign.videos.create(model="other", prompt="b")


async def test_pages_of_a_list_go_through_all_services_in_the_order_of_creation(
    service: QueueServiceProcess, client: Any
) -> None:
    async with aiohttp.ClientSession(headers={"Authorization": TOKEN}) as session:
        for number in range(30):
            # Jobs that are no videos are in no list, and cost it nothing.
            url = f"{service.url}/v1/services/films/jobs"
            async with session.post(url, data=f"plain {number}".encode()) as put:
                assert put.status == 202
        made = []
        for number in range(7):
            model = ("films", "other")[number % 2]
            made.append((await client.videos.create(model=model, prompt=str(number))).id)
    ascending = [one.id async for one in client.videos.list(order="asc", limit=2)]
    assert ascending == made
    newest = await client.videos.list(limit=3)
    assert [one.id for one in newest.data] == made[:3:-1]
    assert newest.has_more
    await client.videos.delete(made[3])
    rest = await client.videos.list(limit=3, after=newest.data[-1].id)
    assert ([one.id for one in rest.data], rest.has_more) == (made[2::-1], False)
    with pytest.raises(openai.NotFoundError):
        await client.videos.list(after=made[3])


async def test_a_server_makes_a_video_of_the_body_as_it_came(
    service: QueueServiceProcess, client: Any, start_worker: StartWorker
) -> None:
    stub = MediaServer(body=b"\x00film", content_type="video/webm")
    await stub.start()
    try:
        await start_worker(service.url, "films", engine=f"http:{stub.url}")
        video = await client.videos.create_and_poll(
            model="films", prompt="a", size="1x1", poll_interval_ms=50
        )
        content = await client.videos.download_content(video.id)
        assert content.content == stub.body
        assert content.response.headers["content-type"] == "video/webm"
        path, kind, _ = stub.received.pop()
        assert path == "/v1/videos"
        assert kind.startswith("multipart/form-data; boundary=")
        # One that answers with JSON has only begun to make it.
        stub.body, stub.content_type = b'{"status": "queued"}', "application/json"
        odd = await client.videos.create_and_poll(model="films", prompt="a", poll_interval_ms=50)
        assert (odd.status, odd.error.code) == ("failed", "BAD_ANSWER")
    finally:
        await stub.stop()
