"""Results that are files: they wait for room, make room once they were read, and leave nothing."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from client_sdk import AsyncQueueClient, errors
from client_sdk.download import Download
from client_sdk.wire import names
from client_sdk.wire import worker as wire
from tests.conftest import Serve
from tests.promises.peer import Peer
from tests.queue_service.web.files.place import LARGE, Place, pieces
from tests.running import ADMIN_TOKEN, TOKEN
from tests.waiting import wait_until


async def test_a_result_waits_for_room_and_holds_up_no_other(
    place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("queue_service.web.worker.session.ROOM_PAUSE_S", 0.01)
    jobs = f"{place.url}/v1/services/svc/jobs"
    for name in ("large", "small"):
        assert (await place.ask("PUT", f"{jobs}/{name}", b"x"))[0] == 202
    peer = Peer(place.session, 2)
    await peer.connect(place.url)
    await wait_until(lambda: len(peer.held) == 2, "the worker has the jobs")
    large, small = peer.held.values()
    with monkeypatch.context() as full:
        full.setattr("queue_service.store.file_folder.FileFolder.free_bytes", lambda _: 0)
        await peer.send(
            wire.Completions(
                (
                    wire.Completion(large.index, large.attempt, wire.Result(LARGE)),
                    wire.Completion(small.index, small.attempt, wire.Result(b"ok")),
                )
            )
        )
        await wait_until(lambda: bool(peer.outcomes), "the other one is stored")
        assert [one.index for one in peer.outcomes] == [small.index]
        await wait_until(lambda: "wait: there is no room" in caplog.text, "the log says it")
        # A worker that is cut off sends it again.
        await peer.cut()
        del peer.held[small.index]
        await peer.connect(place.url)
        assert list(peer.held) == [large.index]
        await peer.complete(large.index, data=LARGE)
        job = await place.ask("GET", f"{jobs}/large")
        assert b'"state": "running"' in job[1]
    await wait_until(lambda: len(peer.outcomes) == 2, "there is room")
    assert peer.outcomes[1].accepted
    assert (await place.ask("GET", f"{jobs}/large/result"))[1] == LARGE
    await peer.cut()


async def test_an_uploaded_result_that_is_refused_leaves_nothing(
    place: Place, serve: Serve, tmp_path: Path
) -> None:
    folder = tmp_path / "other"
    url = await serve(
        {"name": "svc"}, files_dir=str(folder), files_reserve_mb=0, max_header_bytes=20_000
    )

    async def limit(sink: dict[str, int]) -> None:
        status, body, _ = await place.ask(
            "PUT",
            f"{url}/v1/services/made",
            json={"token": TOKEN, "sink": sink},
            headers={"Authorization": ADMIN_TOKEN},
        )
        assert status in (200, 201), body

    def stored() -> list[Path]:
        return [path for path in folder.rglob("*") if path.is_file()]

    await limit({})
    peer = Peer(place.session, 3, service="made")
    await peer.connect(url)
    queue = f"{url}{names.EAS_PREFIX}/made"
    uploads = url + names.WORK_FILES_PATH.format(service="made")
    for refusal in ("too big", "too many tags", "lost"):
        assert (await place.ask("POST", queue, b"x"))[0] == 200
        await wait_until(lambda: bool(peer.held), "the worker has the job")
        (delivery,) = peer.held.values()
        status, body, _ = await place.ask("POST", uploads, LARGE)
        assert status == 201
        assert len(stored()) == 1
        result, attempt = wire.Result(b"", file=json.loads(body)["id"]), delivery.attempt
        if refusal == "too big":
            # The limit was lowered while it was on its way.
            await limit({"max_payload_size_kb": 1})
        elif refusal == "too many tags":
            result = replace(result, tags={"long": "x" * 30_000})
        else:
            attempt += 1
        peer.outcomes.clear()
        await peer.send(wire.Completions((wire.Completion(delivery.index, attempt, result),)))
        await wait_until(lambda: bool(peer.outcomes), "it is refused")
        assert not peer.outcomes[0].accepted
        assert stored() == [], refusal
        await limit({})
        await peer.complete(delivery.index, data=b"ok")
    await peer.cut()
    deleted = await place.ask(
        "DELETE", f"{url}/v1/services/made", headers={"Authorization": ADMIN_TOKEN}
    )
    assert deleted[0] == 200


@pytest.mark.parametrize("has_size", [True, False])
async def test_results_that_were_read_make_room_on_a_full_disk(
    place: Place, monkeypatch: pytest.MonkeyPatch, has_size: bool
) -> None:
    monkeypatch.setattr("queue_service.web.worker.session.ROOM_PAUSE_S", 0.01)
    jobs = f"{place.url}/v1/services/svc/jobs"
    peer = Peer(place.session, 1)
    await peer.connect(place.url)
    for name in ("first", "second", "unread"):
        assert (await place.ask("PUT", f"{jobs}/{name}", b"x"))[0] == 202
        await wait_until(lambda: bool(peer.held), "the worker has the job")
        (delivery,) = peer.held.values()
        await peer.complete(delivery.index, data=LARGE + name.encode())
        await wait_until(lambda: not peer.held, "it is stored")
    for name in ("first", "second"):
        assert (await place.ask("GET", f"{jobs}/{name}/result"))[1] == LARGE + name.encode()

    async def are_read() -> bool:
        shown = [await place.ask("GET", f"{jobs}/{name}") for name in ("first", "second")]
        return all(b'"result_read_at": "' in body for _, body, _ in shown)

    await wait_until(are_read, "they are noted")
    assert len(place.stored()) == 3
    with monkeypatch.context() as full:
        # Each file that goes makes room for one.
        full.setattr(
            "queue_service.store.file_folder.FileFolder.free_bytes",
            lambda _: (3 - len(place.stored())) * 2 * len(LARGE) * 10,
        )
        body: Any = LARGE if has_size else pieces(LARGE)
        answers = [(await place.ask("POST", jobs, body))[0]]
        if not has_size:
            # What is sent in pieces has no size: the first attempt has found no room.
            body = pieces(LARGE)
            answers.append((await place.ask("POST", jobs, body))[0])
        assert 202 in answers
    assert (await place.ask("GET", f"{jobs}/first/result"))[0] == 410
    assert (await place.ask("GET", f"{jobs}/unread/result"))[0] == 200
    await peer.cut()


async def test_a_download_in_parts_tells_the_service_that_it_has_all(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = f"{place.url}/v1/services/svc/jobs"
    assert (await place.ask("PUT", f"{jobs}/large", b"x"))[0] == 202
    peer = Peer(place.session, 1)
    await peer.connect(place.url)
    await wait_until(lambda: bool(peer.held), "the worker has the job")
    await peer.complete(*peer.held, data=LARGE)
    await wait_until(lambda: bool(peer.outcomes), "it is stored")
    whole = Download._receive
    cuts: list[str] = []

    async def cut_once(self: Download, response: aiohttp.ClientResponse, url: str) -> None:
        if cuts:
            await whole(self, response, url)
            return
        cuts.append(url)
        self._etag = response.headers["ETag"]
        await self._write(await response.content.readexactly(100_000))
        raise errors.ConnectionFailed("the connection broke", url=url)

    monkeypatch.setattr(Download, "_receive", cut_once)
    async with AsyncQueueClient(place.url, "svc", token=TOKEN) as client:
        found = await client.jobs.result("large", to=tmp_path / "result")
    assert found.read_bytes() == LARGE

    async def is_read() -> bool:
        return b'"result_read_at": "' in (await place.ask("GET", f"{jobs}/large"))[1]

    await wait_until(is_read, "the service knows that it was read")
    await peer.cut()


async def test_the_first_read_of_a_large_result_keeps_its_connection(
    place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    """The response is sent before its handler returns, and the server must not send it again."""
    jobs = f"{place.url}/v1/services/svc/jobs"
    assert (await place.ask("PUT", f"{jobs}/large", b"x"))[0] == 202
    peer = Peer(place.session, 1)
    await peer.connect(place.url)
    await wait_until(lambda: bool(peer.held), "the worker has the job")
    await peer.complete(next(iter(peer.held)), data=LARGE)
    await wait_until(lambda: bool(peer.outcomes), "the result is stored")
    await peer.cut()
    connector = aiohttp.TCPConnector(limit=1)
    ports = set()
    async with aiohttp.ClientSession(
        connector=connector, headers={"Authorization": f"Bearer {TOKEN}"}
    ) as session:
        for _ in range(3):
            async with session.get(f"{jobs}/large/result") as answer:
                assert answer.connection is not None
                transport = answer.connection.transport
                assert transport is not None
                ports.add(transport.get_extra_info("sockname")[1])
                assert await answer.read() == LARGE
    assert len(ports) == 1
    assert "Unhandled" not in caplog.text
