"""Files of jobs: fetched before the job, handed to the engine, uploaded after it, then gone."""

import asyncio
import errno
import hashlib
import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from client_sdk.transport import RetryPolicy
from client_sdk.wire import names
from client_sdk.wire.file_ref import FileRef
from client_sdk.wire.worker import Completion, Delivery, Held, Result
from inference_worker.job_folders import JobFolders
from tests.inference_worker.conftest import HANDLERS, StartInProcess
from tests.inference_worker.peer import Peer
from tests.waiting import hold_for, wait_until

CONTENT = os.urandom(3_000_000)


def ref(file_id: str, content: bytes = CONTENT, filename: str = "") -> FileRef:
    digest = hashlib.sha256(content).hexdigest()
    return FileRef(file_id, len(content), digest, filename=filename)


def with_payload(index: int = 1, content: bytes = CONTENT, *, attempt: int = 1) -> Delivery:
    payload = ref("payload_in", content)
    return Delivery(index, attempt, f"r-{index}", b"", max_delivery=3, payload_file=payload)


def left(tmp_path: Path) -> list[str]:
    """The files of jobs that are still there."""
    found = (tmp_path / "jobs").rglob("*")
    return [str(path) for path in found if path.is_file() and path.name != "lock"]


async def answered(peer: Peer, count: int = 1) -> None:
    await wait_until(lambda: len(peer.answers) >= count, "it is answered")


RESULTS = {
    "echo": CONTENT,
    f"{HANDLERS}:reverse_bytes": CONTENT[::-1],
    f"{HANDLERS}:to_file": CONTENT * 2,
    f"{HANDLERS}:open_file": CONTENT * 2,
}


@pytest.mark.parametrize("own_process", [True, False])
@pytest.mark.parametrize("engine", RESULTS)
async def test_a_payload_comes_from_a_file_and_the_result_goes_to_one(
    start: StartInProcess,
    peer: Peer,
    tmp_path: Path,
    engine: str,
    own_process: bool,
) -> None:
    peer.inline_bytes, peer.contents["payload_in"] = 65536, CONTENT
    peer.cut_after = 1_000_000
    await start(engine, own_process=own_process)
    assert peer.hellos[0].takes_files
    await peer.deliver(with_payload())
    await answered(peer)
    # Only the name of a file says what it is.
    kind = "image/png" if "to_file" in engine else ""
    tags = {names.CONTENT_TYPE_TAG: kind} if kind else {}
    assert peer.answers == [Completion(1, 1, Result(b"", tags, file="payload_0"))]
    assert peer.uploads["payload_0"] == RESULTS[engine]
    assert peer.upload_types == [kind or "application/octet-stream"]
    assert len(peer.fetches) == 3, "it went on where the connection broke"
    await wait_until(lambda: left(tmp_path) == [], "it is gone")


@pytest.mark.parametrize("inline_bytes", [0, 10_000_000])
async def test_a_result_that_fits_goes_in_the_message(
    start: StartInProcess, peer: Peer, inline_bytes: int
) -> None:
    """Also every result for a service that takes no files."""
    content = CONTENT[:500_000]
    peer.inline_bytes, peer.contents["payload_in"] = inline_bytes, content
    await start(f"{HANDLERS}:to_file")
    await peer.deliver(with_payload(1, content), Delivery(2, 1, "r-2", b"ab"))
    await answered(peer, 2)
    results = {one.index: one.result for one in peer.completions}
    tags = {names.CONTENT_TYPE_TAG: "image/png"}
    assert results == {1: Result(content * 2, tags), 2: Result(b"abab", tags)}
    assert peer.uploads == {}


async def test_files_of_a_json_input_are_paths_with_their_suffix(
    start: StartInProcess, peer: Peer
) -> None:
    peer.contents = {"payload_a": b"abc", "payload_b": b""}
    data = json.dumps({"files": [{"$file": "payload_a"}, {"$file": "payload_b"}]}).encode()
    refs = ref("payload_a", b"abc", "Cat photo.PNG"), ref("payload_b", b"", "../../etc/x.;rm")
    await start(f"{HANDLERS}:size_of_all")
    await peer.deliver(Delivery(1, 1, "r-1", data, files=refs))
    await answered(peer)
    assert peer.completions[0].result is not None
    assert json.loads(peer.completions[0].result.data) == {"sizes": [3, 0], "kinds": [".PNG", ""]}


async def test_files_of_typed_inputs_are_what_the_annotations_say(
    start: StartInProcess, peer: Peer
) -> None:
    peer.contents = {"payload_a": b"abc", "payload_b": b"la"}
    data = b'{"image": {"$file": "payload_a"}, "sound": {"$file": "payload_b"}, "prompt": "x"}'
    refs = ref("payload_a", b"abc", "a.png"), ref("payload_b", b"la", "b.wav")
    await start(f"{HANDLERS}:typed_files")
    await peer.deliver(Delivery(1, 1, "r-1", data, files=refs))
    # A text is never a path, wherever it comes from.
    await peer.deliver(Delivery(2, 1, "r-2", data.replace(b'{"$file": "payload_a"}', b'"/etc/x"')))
    await answered(peer, 2)
    results = {one.index: one.result for one in peer.completions if one.result}
    expected = {"image": ".png", "bytes": 3, "sound": "la"}
    assert json.loads(results[1].data) == expected
    assert results[2].tags["errorCode"] == "BadInput"


async def test_an_engine_without_files_gets_data_urls(start: StartInProcess, peer: Peer) -> None:
    peer.contents = {"payload_a": b"abc"}
    data = b'{"image": {"$file": "payload_a"}, "other": {"$file": "else"}}'
    await start("echo")
    await peer.deliver(Delivery(1, 1, "r-1", data, files=(ref("payload_a", b"abc", "a.png"),)))
    await answered(peer)
    assert peer.completions[0].result is not None
    assert json.loads(peer.completions[0].result.data) == {
        "image": "data:image/png;base64,YWJj",
        "other": {"$file": "else"},
    }


async def test_a_fetch_that_fails_does_not_blame_the_job_and_a_lost_file_does(
    start: StartInProcess, peer: Peer, tmp_path: Path
) -> None:
    await start("echo")
    peer.refuse_files = [503] * 5
    await peer.deliver(with_payload())
    await answered(peer)
    assert [(one.index, one.code) for one in peer.rejections] == [(1, "Shutdown")]
    await peer.deliver(with_payload(2))
    await answered(peer, 2)
    assert peer.rejections[1].code == "FileLost", "the service does not have it"
    peer.contents["payload_in"] = CONTENT[:-1] + b"?"
    await peer.deliver(with_payload(3))
    await answered(peer, 3)
    assert peer.rejections[2].code == "FileLost", "it has another one"
    peer.contents["payload_in"] = CONTENT
    await peer.deliver(with_payload(4))
    await answered(peer, 4)
    assert peer.completions[0].index == 4
    await wait_until(lambda: left(tmp_path) == [], "nothing is left")


async def test_a_job_waits_for_room_on_the_disk_and_then_goes_elsewhere(
    start: StartInProcess, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inference_worker.job_files.ROOM_WAIT_S", 0.01)
    monkeypatch.setattr("inference_worker.job_files.ROOM_LOOK_S", 0.01)
    peer.contents["payload_in"] = CONTENT
    await start("echo", reserve_bytes=2**60)
    await peer.deliver(with_payload())
    await answered(peer)
    assert peer.rejections[0].code == "Shutdown"
    assert "the disk has room for 0 MB, they have 3" in peer.rejections[0].reason
    assert peer.fetches == []


async def test_a_lost_job_stops_its_fetch_and_leaves_nothing(
    start: StartInProcess, peer: Peer, tmp_path: Path
) -> None:
    peer.contents["payload_in"] = CONTENT
    peer.file_gate.clear()
    running = await start("echo")
    await peer.deliver(with_payload())
    await wait_until(lambda: peer.fetches, "it is being fetched")
    peer.lost = (Held(1, 1),)
    await peer.cut()
    await wait_until(lambda: running.count("lost_deliveries_total") == 1, "it is lost")
    await wait_until(lambda: left(tmp_path) == [], "it has stopped")
    peer.file_gate.set()
    await wait_until(lambda: peer.connected, "the worker is back")
    await hold_for(0.05, lambda: not peer.answers, "no answer comes")


async def test_an_upload_goes_on_across_a_reconnect_and_is_answered_once(
    start: StartInProcess, peer: Peer
) -> None:
    peer.inline_bytes = 65536
    peer.file_gate.clear()
    peer.refuse_files = [503, 507]
    await start("echo")
    await peer.deliver(Delivery(1, 1, "r-1", CONTENT))
    await wait_until(lambda: peer.uploads_begun == 3, "it is being uploaded")
    await peer.cut()
    await wait_until(lambda: peer.connected, "the worker is back")
    assert peer.hellos[-1].held == (Held(1, 1),)
    peer.file_gate.set()
    await answered(peer)
    assert peer.answers == [Completion(1, 1, Result(b"", file="payload_0"))]
    assert peer.uploads["payload_0"] == CONTENT


async def test_the_time_of_a_fetch_and_of_an_upload_does_not_count(
    start: StartInProcess, peer: Peer
) -> None:
    peer.inline_bytes, peer.contents["payload_in"] = 65536, CONTENT
    peer.file_gate.clear()
    await start("echo", run_timeout_s=0.1)
    await peer.deliver(with_payload())
    await wait_until(lambda: peer.fetches, "it is being fetched")
    await hold_for(0.2, lambda: not peer.answers, "it goes on")
    peer.file_gate.set()
    await answered(peer)
    assert peer.completions == [Completion(1, 1, Result(b"", file="payload_0"))]


async def test_an_engine_cannot_have_what_only_the_supervisor_reads_uploaded(
    start: StartInProcess, peer: Peer
) -> None:
    peer.inline_bytes = 10
    await start(f"{HANDLERS}:secret_file")
    for index, path in enumerate(("/proc/self/environ", "/dev/null", "/absent", "/etc"), 1):
        await peer.deliver(Delivery(index, 1, f"r-{index}", path.encode()))
    await answered(peer, 4)
    assert all(b"PENSTOCK" not in content for content in peer.uploads.values())
    codes = {one.index: one.code for one in peer.rejections}
    assert codes[2] == "TypeError"
    assert codes[3] == "FileNotFoundError"
    assert codes[4] == "TypeError"


async def test_a_worker_without_a_folder_says_so_and_gives_files_back(
    start: StartInProcess, peer: Peer
) -> None:
    await start(f"{HANDLERS}:open_file", takes_files=False, own_process=False)
    assert not peer.hellos[0].takes_files
    await peer.deliver(Delivery(2, 1, "r-2", b"ab"))
    await answered(peer)
    assert peer.completions == [Completion(2, 1, Result(b"abab"))]
    await peer.deliver(with_payload())
    await answered(peer, 2)
    assert [(one.code, one.reason) for one in peer.rejections] == [
        ("Shutdown", "this worker takes no files")
    ]


async def test_the_files_of_a_killed_worker_go_when_the_next_one_starts(tmp_path: Path) -> None:
    script = (
        "import sys, time\nfrom pathlib import Path\n"
        "from inference_worker.job_folders import JobFolders\n"
        "folders = JobFolders(Path(sys.argv[1]), sys.argv[2])\nfolders.open()\n"
        "one = folders.next()\none.mkdir()\n(one / 'in').write_bytes(b'x')\n"
        "print('there', flush=True)\ntime.sleep(600)\n"
    )
    started = []
    for name in ("killed", "alive"):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", script, str(tmp_path), name), stdout=asyncio.subprocess.PIPE
        )
        started.append(process)
        assert process.stdout is not None
        assert await process.stdout.readline() == b"there\n"
    started[0].send_signal(signal.SIGKILL)
    await started[0].wait()
    ours = JobFolders(tmp_path, "ours")
    ours.open()
    assert sorted(os.listdir(tmp_path)) == ["alive", "lock", "ours"]
    assert os.listdir(tmp_path / "alive" / "1") == ["in"]
    ours.close()
    assert sorted(os.listdir(tmp_path)) == ["alive", "lock"]
    started[1].kill()
    await started[1].wait()


async def test_a_result_waits_for_room_at_the_queue_service_and_says_so(
    start: StartInProcess,
    peer: Peer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("inference_worker.result_upload.REPORT_EVERY_S", 0.01)
    monkeypatch.setattr("inference_worker.result_upload.RETRY", RetryPolicy(0, 0.01, 0.02))
    peer.inline_bytes = 65536
    # More often than any retry policy would try.
    peer.refuse_files = [507] * 40
    caplog.set_level(logging.INFO)
    await start("echo")
    await peer.deliver(Delivery(1, 1, "r-1", CONTENT, events=True))
    await answered(peer)
    assert peer.answers == [Completion(1, 1, Result(b"", file="payload_0"))]
    assert peer.uploads["payload_0"] == CONTENT
    assert any("the result waits: " in str(event.data) for event in peer.events)
    said = [text for text in caplog.messages if "r-1" in text]
    assert len([text for text in said if "waits for the queue service" in text]) == 1
    assert len([text for text in said if "is stored, after" in text]) == 1


@pytest.mark.parametrize("ends", ["canceled", "lost", "leaving"])
async def test_a_result_that_waits_for_room_holds_up_no_end(
    start: StartInProcess, peer: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    monkeypatch.setattr("inference_worker.result_upload.RETRY", RetryPolicy(0, 0.01, 0.02))
    peer.inline_bytes = 65536
    peer.refuse_files = [507] * 100_000
    running = await start("echo", grace_s=0.1)
    await peer.deliver(Delivery(1, 1, "r-1", CONTENT))
    await wait_until(lambda: peer.uploads_begun > 3, "it waits for room")
    if ends == "canceled":
        await peer.cancel(Held(1, 1))
        await answered(peer)
        assert peer.rejections[0].code == "Canceled"
    elif ends == "lost":
        peer.lost = (Held(1, 1),)
        await peer.cut()
        await wait_until(lambda: running.count("lost_deliveries_total") == 1, "it is lost")
    else:
        running.worker.drain()
        await answered(peer)
        assert peer.rejections[0].code == "Shutdown"
    await wait_until(lambda: left(tmp_path) == [], "nothing is left")


async def test_a_result_waits_for_room_on_the_disk_of_the_worker(
    start: StartInProcess,
    peer: Peer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("inference_worker.engines.full_disk.TRY_EVERY_S", 0.01)
    tries: list[Path] = []

    def open_when_there_is_room(path: Path, mode: str = "r", *more: Any, **others: Any) -> Any:
        if mode == "xb" and path.name == "output" and len(tries) < 5:
            tries.append(path)
            raise OSError(errno.ENOSPC, "No space left on device")
        return open(path, mode, *more, **others)

    monkeypatch.setattr(Path, "open", open_when_there_is_room)
    peer.inline_bytes = 65536
    await start("echo", own_process=False)
    await peer.deliver(Delivery(1, 1, "r-1", CONTENT))
    await answered(peer)
    assert peer.answers == [Completion(1, 1, Result(b"", file="payload_0"))]
    assert len(tries) == 5
    waits = [text for text in caplog.messages if "the disk of the worker is full" in text]
    assert len(waits) == 1
