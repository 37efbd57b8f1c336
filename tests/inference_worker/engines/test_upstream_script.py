"""A server that the worker starts: real processes, really killed, and none of them left."""

import asyncio
import os
import shlex
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from client_sdk.wire.worker import Completion, Delivery, Result
from inference_worker.engines.engine import Context, Event, Failed, Finished, Job
from inference_worker.engines.load import EngineSpec, load_engine
from tests.conftest import StartWorker
from tests.inference_worker.peer import Peer
from tests.inference_worker.test_process import is_alive
from tests.running import WorkerProcess, free_port
from tests.waiting import wait_until

SUBJECT = Path(__file__).with_name("subject_server.py")


class Subject:
    """What is known of the servers that were started in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def script(self) -> str:
        """A command whose shell stays above the server, as those of users do."""
        command = shlex.join([sys.executable, str(SUBJECT), str(self.folder)])
        return f"{command}; exit $?"

    @property
    def pids(self) -> list[list[int]]:
        """The server and its child, of every start so far."""
        path = self.folder / "pids"
        lines = path.read_text().splitlines() if path.exists() else []
        return [[int(pid) for pid in line.split()] for line in lines]

    @property
    def alive(self) -> list[int]:
        return [pid for pids in self.pids for pid in pids if is_alive(pid)]

    def says(self, word: str) -> None:
        (self.folder / word).touch()

    def options(self, **options: object) -> dict[str, object]:
        return {"script": self.script, "port": 0, **options}


@pytest.fixture
def subject(tmp_path: Path) -> Subject:
    folder = tmp_path / "subject"
    folder.mkdir()
    return Subject(folder)


def delivery(index: int, data: bytes = b"x", *, attempt: int = 1) -> Delivery:
    return Delivery(index, attempt, f"r-{index}", data, max_delivery=3)


async def start_server(
    start_worker: StartWorker, peer: Peer, options: dict[str, object], **settings: Any
) -> WorkerProcess:
    worker = await start_worker(peer.url, engine="http", engine_options=options, **settings)
    await wait_until(lambda: peer.connected, "the worker is connected")
    return worker


async def answered(peer: Peer, count: int = 1) -> None:
    await wait_until(lambda: len(peer.answers) >= count, f"{count} are answered")


async def nothing_left(subject: Subject) -> None:
    await wait_until(lambda: not subject.alive, "no process of the server is left")


async def test_the_server_is_started_used_and_ended_with_the_worker(
    start_worker: StartWorker, peer: Peer, subject: Subject
) -> None:
    worker = await start_server(start_worker, peer, subject.options(), worker_threads=7)
    assert peer.hellos[0].window == 7
    await peer.deliver(delivery(1, b"hello"), delivery(2, b"token"))
    await answered(peer, 2)
    assert {a.index: a.result for a in peer.completions} == {
        1: Result(b"hello"),
        2: Result(b"none"),
    }
    assert "[server] the weights are loading" in worker.log
    assert len(subject.alive) == 2
    assert await worker.stop() == 0
    assert subject.alive == []


async def test_a_killed_worker_leaves_nothing_of_the_server(
    start_worker: StartWorker, peer: Peer, subject: Subject
) -> None:
    worker = await start_server(start_worker, peer, subject.options())
    assert len(subject.alive) == 2
    worker.kill()
    await nothing_left(subject)


async def test_a_killed_worker_whose_engine_has_a_process_leaves_nothing_either(
    start_worker: StartWorker, peer: Peer, subject: Subject
) -> None:
    worker = await start_server(start_worker, peer, subject.options(), engine_process=True)
    await peer.deliver(delivery(1, b"hello"))
    await answered(peer)
    assert peer.completions == [Completion(1, 1, Result(b"hello"))]
    worker.kill()
    await nothing_left(subject)


@pytest.mark.parametrize("killed", [True, False])
async def test_a_server_that_dies_is_started_again_and_its_jobs_go_out_again(
    start_worker: StartWorker, peer: Peer, subject: Subject, killed: bool
) -> None:
    worker = await start_server(start_worker, peer, subject.options())
    await peer.deliver(delivery(1, b"hang"), delivery(2, b"hang"))
    await wait_until(lambda: worker.log.count("[server] hanging") == 2, "it has the jobs")
    if killed:
        os.kill(subject.pids[0][0], signal.SIGKILL)
    else:
        await peer.deliver(delivery(3, b"die"))
    count = 2 if killed else 3
    await answered(peer, count)
    assert {a.code for a in peer.rejections} == {"EngineDied"}
    # What the server printed last may be about the job of another owner.
    assert "hanging" not in repr(peer.rejections)
    await wait_until(lambda: len(subject.pids) == 2, "it is started again")
    await wait_until(lambda: peer.windows == [0, 5], "the window opened again")
    assert ("was killed by signal 9" if killed else "exited with 3") in worker.log
    await peer.deliver(delivery(1, b"again", attempt=2))
    await answered(peer, count + 1)
    assert peer.completions == [Completion(1, 2, Result(b"again"))]
    assert sorted(subject.alive) == sorted(subject.pids[1])


async def test_a_slow_start_is_waited_for_and_told(
    start_worker: StartWorker, peer: Peer, subject: Subject
) -> None:
    subject.says("wait")
    worker = await start_worker(
        peer.url, engine="http", engine_options=subject.options(health_path="/")
    )
    await wait_until(
        lambda: (
            "s the server takes no connection" in worker.log or "does not answer on /" in worker.log
        ),
        "the log says so",
    )
    assert "Loading, " in worker.log
    assert not peer.hellos
    subject.says("start")
    await wait_until(lambda: peer.connected, "the worker is connected")


async def test_a_worker_told_to_leave_while_the_server_starts_takes_it_along(
    start_worker: StartWorker, peer: Peer, subject: Subject
) -> None:
    subject.says("wait")
    worker = await start_worker(peer.url, engine="http", engine_options=subject.options())
    await wait_until(lambda: len(subject.alive) == 2, "it starts")
    assert await worker.stop() == 0
    assert subject.alive == []


async def ended(worker: WorkerProcess) -> int:
    await wait_until(lambda: not worker.running, "the worker has ended")
    assert worker.process is not None
    return worker.process.wait(0)


async def test_a_server_that_cannot_start_ends_the_worker_with_its_last_line(
    start_worker: StartWorker, peer: Peer, subject: Subject
) -> None:
    subject.says("cannot")
    worker = await start_worker(
        peer.url, engine="http", engine_options=subject.options(), wait=False
    )
    assert await ended(worker) == 1
    assert "the server exited with 1: there is no such model" in worker.log
    assert "Traceback" not in worker.log
    await nothing_left(subject)


@pytest.mark.parametrize(
    ("script", "cause"),
    [
        (["no-such-program"], "expected a program no-such-program for the script"),
        ("no-such-program", "exited with 127: "),
    ],
)
async def test_a_script_that_is_none_is_reported(
    start_worker: StartWorker, peer: Peer, script: object, cause: str
) -> None:
    options = {"script": script, "port": free_port()}
    worker = await start_worker(peer.url, engine="http", engine_options=options, wait=False)
    assert await ended(worker) == 1
    assert cause in worker.log


async def test_a_port_of_another_program_is_not_taken_for_the_servers(
    start_worker: StartWorker, peer: Peer, subject: Subject
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        worker = await start_worker(
            peer.url, engine="http", engine_options=subject.options(port=port), wait=False
        )
        assert await ended(worker) == 1
    assert f"port {port} is already in use by 'python" in worker.log
    assert f"process {os.getpid()}: stop that, choose another port" in worker.log
    assert subject.pids == []


async def test_two_workers_with_one_port_are_not_both_ready(
    start_worker: StartWorker, peer: Peer, subject: Subject
) -> None:
    port = free_port()
    subject.says("wait")
    # Neither server listens while both workers start, so that neither finds the port taken.
    options = subject.options(port=port)
    first = await start_worker(peer.url, engine="http", engine_options=options, wait=False)
    await wait_until(lambda: subject.pids, "the first server is started")
    second = await start_worker(peer.url, engine="http", engine_options=options, wait=False)
    assert await ended(second) == 1
    assert f"port {port} is already in use by another worker" in second.log
    assert f"process {first.pid})" in second.log
    subject.says("start")
    await wait_until(lambda: peer.connected, "the first worker is connected")
    assert len(subject.pids) == 1


async def test_a_port_that_another_program_takes_meanwhile_is_not_taken_for_the_servers(
    start_worker: StartWorker, peer: Peer, subject: Subject
) -> None:
    port = free_port()
    subject.says("wait")
    worker = await start_worker(
        peer.url, engine="http", engine_options=subject.options(port=port), wait=False
    )
    await wait_until(lambda: subject.pids, "the server is started")
    with socket.create_server(("127.0.0.1", port)):
        assert await ended(worker) == 1
    assert f"process {os.getpid()}: stop that" in worker.log
    assert not peer.hellos
    await nothing_left(subject)


async def test_a_server_that_keeps_dying_is_waited_for_longer_each_time(
    start_worker: StartWorker, peer: Peer, subject: Subject
) -> None:
    worker = await start_server(start_worker, peer, subject.options())
    subject.says("cannot")
    os.kill(subject.pids[0][0], signal.SIGKILL)
    await wait_until(lambda: worker.log.count("It is still away") >= 3, "it tries")
    assert "trying again in 0.4 s" in worker.log
    assert "trying again in 0.8 s" in worker.log
    assert peer.windows == [0]
    (subject.folder / "cannot").unlink()
    await wait_until(lambda: peer.windows == [0, 5], "the window opened again")


async def test_its_status_is_the_code_of_the_rejection_and_its_body_the_last_answer(
    start_worker: StartWorker, peer: Peer, subject: Subject
) -> None:
    await start_server(start_worker, peer, subject.options())
    for attempt in (1, 2, 3):
        await peer.deliver(delivery(1, b"status 503", attempt=attempt))
        await answered(peer, attempt)
    assert [(a.attempt, a.code) for a in peer.rejections] == [(1, "503"), (2, "503")]
    tags = {"lastCode": "503", "errorCode": "503", "errorType": "transient"}
    assert [answer.result for answer in peer.completions] == [Result(b"a body of 503", tags)]


async def test_a_server_whose_warden_is_killed_is_started_again(
    start_worker: StartWorker, peer: Peer, subject: Subject
) -> None:
    worker = await start_server(start_worker, peer, subject.options())
    server, left = subject.pids[0]
    shell = parent_of(server)
    os.kill(parent_of(shell), signal.SIGKILL)
    await wait_until(lambda: peer.windows == [0, 5], "the window opened again")
    assert not is_alive(shell)
    assert not is_alive(server)
    await peer.deliver(delivery(1, b"again"))
    await answered(peer)
    assert peer.completions == [Completion(1, 1, Result(b"again"))]
    assert "The server was killed by signal 9" in worker.log
    # What had left the group of the server is out of reach, now that its warden is gone.
    os.kill(left, signal.SIGKILL)


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def test_a_server_that_is_restarted_charges_no_job(subject: Subject) -> None:
    engine = load_engine(EngineSpec("http", subject.options()))
    await engine.start(Context())
    try:

        async def hang() -> Event:
            return [event async for event in engine.run(Job("r", b"hang"))][-1]

        hanging = asyncio.create_task(hang())
        await asyncio.wait({hanging}, timeout=0.3)
        async with asyncio.timeout(30):
            await engine.restart("it is sick")
        assert await hanging == Failed("Shutdown", "it is sick")
        assert len(subject.pids) == 2
        assert engine.capacity
        assert sorted(subject.alive) == sorted(subject.pids[1])
        end = [event async for event in engine.run(Job("r", b"x"))][-1]
        assert end == Finished(b"x")
    finally:
        await engine.stop(1.0)
