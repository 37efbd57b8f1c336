"""A large payload goes to a file in every API, is read back whole, and goes with its entry."""

import io
import struct
from pathlib import Path

import pytest

from client_sdk.wire import frame, names
from client_sdk.wire import worker as wire
from tests.conftest import Serve
from tests.promises.peer import Peer
from tests.queue_service.web.files.place import LARGE, SMALL, TAKE, Place, pieces
from tests.waiting import wait_until


async def test_a_large_put_is_a_file_until_it_is_read(place: Place) -> None:
    status, index, _ = await place.ask("POST", place.queue, LARGE, params={"colour": "red"})
    assert status == 200
    assert len(place.stored()) == 1
    assert await place.in_redis() < len(LARGE) / 10

    looked = await place.ask("GET", place.queue)
    assert looked[:2] == (200, LARGE)
    assert looked[2][names.INDEX_HEADER] == index.decode()
    assert '"colour": "red"' in looked[2][names.TAGS_HEADER]
    assert "_files_" not in looked[2][names.TAGS_HEADER]
    part = await place.ask("GET", place.queue, headers={"Range": "bytes=10-19"})
    assert part[:2] == (206, LARGE[10:20])
    assert len(place.stored()) == 1

    # A read that deletes gives the whole, or the rest would be lost.
    taken = await place.ask("GET", place.queue, params=TAKE, headers={"Range": "bytes=10-19"})
    assert taken[:2] == (200, LARGE)
    await wait_until(place.is_empty, "the file went with its entry")
    assert (await place.ask("GET", place.queue))[0] == 204


async def test_a_payload_up_to_the_inline_limit_stays_in_redis(place: Place) -> None:
    assert (await place.ask("POST", place.queue, SMALL))[0] == 200
    assert place.stored() == []
    attributes = await place.ask("GET", place.queue, params={names.ATTRIBUTES: "true"})
    assert b'"stream.approxMaxLength": "230399"' in attributes[1]
    assert (await place.ask("GET", place.queue))[1] == SMALL


async def test_frames_have_the_content(place: Place) -> None:
    for body in (b"first", LARGE, b"last"):
        await place.ask("POST", place.queue, body)
    query = {names.RAW: "false", names.LENGTH: "3", **TAKE}
    status, body, _ = await place.ask(
        "GET", place.queue, params=query, headers={"Accept": names.PROTOBUF}
    )
    assert status == 200
    assert [one.data for one in frame.decode_list(body)] == [b"first", LARGE, b"last"]
    await wait_until(place.is_empty, "the file went with its entry")


async def test_a_list_of_frames_has_as_many_as_there_is_room_for(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("queue_service.web.eas.contents.FRAME_BYTES", len(LARGE))
    for body in (LARGE, b"small", LARGE, LARGE + b"more"):
        await place.ask("POST", place.queue, body)
    query = {names.RAW: "false", names.LENGTH: "4", **TAKE}
    for expected in ([LARGE, b"small"], [LARGE]):
        _, body, _ = await place.ask(
            "GET", place.queue, params=query, headers={"Accept": names.PROTOBUF}
        )
        assert [one.data for one in frame.decode_list(body)] == expected
    status, body, headers = await place.ask("GET", place.queue, params=query)
    assert (status, headers[names.ERROR_CODE_HEADER]) == (413, "FRAME_TOO_BIG")
    assert b"_raw_=true" in body
    assert (await place.ask("GET", place.queue, params=TAKE))[1] == LARGE + b"more"


async def test_watches_have_the_content(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("queue_service.web.eas.contents.FRAME_BYTES", len(LARGE))
    monkeypatch.setattr("queue_service.web.eas.watch.FRAME_BYTES", len(LARGE))
    sink = f"{place.queue}/{names.SINK}"
    for body in (LARGE, LARGE + b"more"):
        await place.ask("POST", sink, body)
    query = {names.WATCH: "true", names.AUTO_COMMIT: "true", names.WINDOW: "5"}
    async with place.session.ws_connect(sink, params=query, max_msg_size=0) as socket:
        whole = frame.decode(await socket.receive_bytes())
        omitted = frame.decode(await socket.receive_bytes())
    assert whole.data == LARGE
    assert omitted.data == b""
    assert omitted.tags[names.OMITTED_TAG] == str(len(LARGE) + 4)
    # It was not committed, so it is still there.
    left = await place.ask("GET", sink, params={names.INDEX: str(omitted.index)})
    assert left[1] == LARGE + b"more"


async def test_a_client_that_goes_away_loses_nothing(place: Place) -> None:
    await place.ask("POST", place.queue, io.BytesIO(LARGE * 30))
    reading = await place.session.get(place.queue, params=TAKE)
    assert len(await reading.content.readexactly(1000)) == 1000
    reading.close()

    async def is_back() -> bool:
        return (await place.ask("GET", place.queue))[0] == 200

    await wait_until(is_back, "the entry is there again")
    assert (await place.ask("GET", place.queue, params=TAKE))[1] == LARGE * 30


async def test_a_job_and_its_result_are_files_until_it_is_deleted(place: Place) -> None:
    jobs = f"{place.url}/v1/services/svc/jobs"
    headers = {"Content-Type": "image/png"}
    again = [await place.ask("PUT", f"{jobs}/large", LARGE, headers=headers) for _ in range(2)]
    assert [status for status, _, _ in again] == [202, 202]
    assert len(place.stored()) == 1, "the repetition left nothing"
    other = await place.ask("PUT", f"{jobs}/large", LARGE + b"other", headers=headers)
    assert other[0] == 409
    assert len(place.stored()) == 1

    peer = Peer(place.session, 1)
    await peer.connect(place.url)
    await wait_until(lambda: bool(peer.held), "the worker has the job")
    (delivery,) = peer.held.values()
    # A worker that takes no files gets the payload as before.
    assert (delivery.data, delivery.payload_file, delivery.content_type) == (
        LARGE,
        None,
        "image/png",
    )
    # Nobody but the store says which files an entry owns.
    forged = {"_files_": '[{"id": "payload_of_another", "bytes": 1, "sha256": ""}]', "ok": "yes"}
    result = wire.Result(LARGE[::-1], forged)
    done = wire.Completion(delivery.index, delivery.attempt, result)
    await peer.send(wire.Completions((done,)))
    await wait_until(lambda: bool(peer.outcomes), "the result is stored")
    peer.held.clear()
    await peer.cut()
    address = f"{jobs}/large/result"
    status, body, headers = await place.ask("GET", address)
    assert (status, body) == (200, LARGE[::-1])
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers[names.REQUEST_ID_HEADER] == "large"
    assert '"ok": "yes"' in headers[names.TAGS_HEADER]
    assert "_files_" not in headers[names.TAGS_HEADER]
    assert len(place.stored()) == 1, "the input went with its entry"
    ranged = await place.ask("GET", address, headers={"Range": "bytes=-5"})
    assert ranged[:2] == (206, LARGE[::-1][-5:])
    unchanged = await place.ask("GET", address, headers={"If-None-Match": headers["Etag"]})
    assert unchanged[0] == 304
    assert (await place.ask("DELETE", f"{jobs}/large"))[0] in (200, 204)
    await wait_until(place.is_empty, "the files went with the job")


async def test_what_is_refused_leaves_nothing(place: Place, serve: Serve, tmp_path: Path) -> None:
    jobs = f"{place.url}/v1/services/svc/jobs"
    refused = await place.ask("POST", jobs, LARGE, params={"start_by": "1ms", "max_attempts": "0"})
    assert refused[0] == 400
    assert place.stored() == []
    folder = tmp_path / "other"
    url = await serve(
        {"name": "tight", "input": {"max_payload_size_kb": 128}},
        {"name": "less", "max_file_mb": 1},
        {"name": "one", "input": {"max_length": 1}},
        files_dir=str(folder),
        files_reserve_mb=0,
    )
    for service, limit in (("tight", 128 * 1024), ("less", 1024 * 1024)):
        address = f"{url}{names.EAS_PREFIX}/{service}"
        body = b"x" * limit
        for more in (io.BytesIO(body + b"y"), pieces(body + b"y")):
            assert (await place.ask("POST", address, more))[0] == 413
        assert (await place.ask("POST", address, pieces(body)))[0] == 200
        assert (await place.ask("GET", address, params=TAKE))[1] == body
    one = f"{url}{names.EAS_PREFIX}/one"
    assert (await place.ask("POST", one, LARGE))[0] == 200
    assert (await place.ask("POST", one, LARGE))[0] == 429
    await place.ask("GET", one, params=TAKE)

    async def nothing() -> bool:
        return not [path for path in folder.rglob("*") if path.is_file()]

    await wait_until(nothing, "nothing is left")


async def test_a_watch_without_a_socket_has_the_content(place: Place) -> None:
    await place.ask("POST", place.queue, LARGE)
    query = {names.WATCH: "true", names.AUTO_COMMIT: "true"}
    async with place.session.get(place.queue, params=query) as answer:
        (length,) = struct.unpack(">I", await answer.content.readexactly(4))
        assert frame.decode(await answer.content.readexactly(length)).data == LARGE
