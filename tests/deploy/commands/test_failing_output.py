"""A log that cannot be written affects nothing: a closed terminal, a full disk, a lost reader."""

import asyncio
import contextlib
import os
import pty
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

import pytest
from rich.console import Console

from client_sdk import AsyncQueueClient, QueueClient
from client_sdk.steady_output import steady
from client_sdk.wire import names
from deploy.commands.merged_log import MergedLog
from deploy.errors import NotRunning
from deploy.local.data_dir import DataDir, Running
from tests.conftest import StartService, StartWorker
from tests.deploy.local_mode import START_S, STOP_S
from tests.deploy.processes import alive, descendants
from tests.running import (
    TOKEN,
    QueueServiceProcess,
    ServerProcess,
    WorkerProcess,
    worker_env,
)
from tests.waiting import wait_until_blocking


def _up(data_dir: Path, stdout: int | IO[bytes], *options: str, nohup: bool = False) -> "Started":
    def ignore_hang_up() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "deploy.cli",
            "up",
            "--data",
            str(data_dir),
            "--port",
            "0",
            *options,
        ],
        env={k: v for k, v in os.environ.items() if not k.startswith("PENSTOCK_")},
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=ignore_hang_up if nohup else None,  # noqa: PLW1509
    )
    return Started(process, data_dir)


class Started:
    """One `penstock up`, whose log nobody reads."""

    def __init__(self, process: "subprocess.Popen[bytes]", data_dir: Path) -> None:
        self.process = process
        self.data_dir = data_dir

    def ready(self) -> Running:
        def running() -> Running | None:
            assert self.process.poll() is None, "it ended"
            with contextlib.suppress(NotRunning):
                return DataDir(self.data_dir).running()
            return None

        found = wait_until_blocking(running, "`penstock up` is ready", START_S)
        assert found is not None
        return found

    def stop(self, number: signal.Signals) -> int:
        below = descendants(self.process.pid)
        self.process.send_signal(number)
        code = self.process.wait(STOP_S)
        assert not [pid for pid in below if alive(pid)], "nothing is left"
        return code

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.wait()


@pytest.mark.timeout(240)
def test_up_on_a_full_log_disk_restarts_a_worker_and_stops_by_sigterm(tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        up = _up(tmp_path / "data", full)
    try:
        up.ready()
        (worker,) = wait_until_blocking(lambda: _workers(up), "a worker runs", START_S)
        os.kill(worker, signal.SIGKILL)
        wait_until_blocking(
            lambda: [pid for pid in _workers(up) if pid != worker], "another worker runs", START_S
        )
        assert up.stop(signal.SIGTERM) == 0
    finally:
        up.kill()


@pytest.mark.timeout(240)
def test_up_stops_in_order_when_its_terminal_is_closed(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    up = _up(tmp_path / "data", theirs, "--workers", "0")
    os.close(theirs)
    try:
        _read_in_background(ours)
        up.ready()
        os.close(ours)
        # The kernel sends it to the foreground of a terminal that is closed.
        assert up.stop(signal.SIGHUP) == 0
    finally:
        up.kill()


@pytest.mark.timeout(240)
def test_up_under_nohup_goes_on_without_its_terminal_and_its_pipe(tmp_path: Path) -> None:
    read, write = os.pipe()
    up = _up(tmp_path / "data", write, "--workers", "0", nohup=True)
    os.close(write)
    try:
        # Nobody reads the pipe, and then nobody can.
        running = up.ready()
        os.close(read)
        up.process.send_signal(signal.SIGHUP)
        with QueueClient(running.url, running.service, token=running.token) as client:
            assert client.put(b"x").index == 1
        assert up.process.poll() is None
        assert up.stop(signal.SIGINT) == 0
    finally:
        up.kill()


def test_a_log_that_nobody_reads_blocks_nobody_and_says_what_is_missing() -> None:
    read, write = os.pipe()
    log = MergedLog(Console(file=steady(None, write), width=200), most_waiting=100)
    try:
        long = "x" * 1000
        for number in range(400):
            log.line("worker-1", f"line {number} [/nope] \x1b[2J\x1b[31mred\x1b[0m {long}")
        assert not log.flush(timeout_s=0.0), "the pipe is full"
        seen: list[bytes] = []
        reading = threading.Thread(target=lambda: _read_all(read, seen))
        reading.start()
        assert log.flush(timeout_s=START_S)
        os.close(write)
        reading.join()
    finally:
        os.close(read)
    text = b"".join(seen).decode()
    assert "line 399 [/nope]" in text
    assert "lines were dropped: the terminal was too slow" in text
    assert "\x1b[2J" not in text


async def test_a_handler_that_prints_to_a_full_disk_still_answers(
    service: QueueServiceProcess, workers: list[ServerProcess]
) -> None:
    engine = "handler:tests.inference_worker.handlers:Prints"
    env = worker_env(queue_url=service.url, service="svc", engine=engine)
    worker = WorkerProcess(env, log_path=Path("/dev/full"))
    workers.append(worker)
    worker.spawn()
    async with AsyncQueueClient(service.url, "svc", token=TOKEN) as client:
        for text in ("one", "two"):
            await client.put(text)
            (frame,) = await client.sink.get(timeout_s=START_S)
            assert (frame.data, frame.tags.get(names.LAST_CODE_TAG)) == (text.encode(), None)
    assert await worker.stop() == 0


async def test_services_and_workers_stop_in_order_by_a_hang_up(
    start_service: StartService, start_worker: StartWorker
) -> None:
    service = await start_service()
    worker = await start_worker(service.url)
    for process, said in ((worker, "SIGHUP: leaving"), (service, "Stopped.")):
        os.kill(process.pid, signal.SIGHUP)
        assert process.process is not None
        assert await asyncio.to_thread(process.process.wait, STOP_S) == 0
        assert said in process.log


def _workers(up: Started) -> list[int]:
    found = []
    for pid in descendants(up.process.pid):
        with contextlib.suppress(OSError):
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            if b"inference_worker" in command and b"leash.py" not in command:
                found.append(pid)
    return found


def _read_in_background(descriptor: int) -> None:
    def read() -> None:
        with contextlib.suppress(OSError):
            while os.read(descriptor, 65536):
                pass

    threading.Thread(target=read, daemon=True).start()


def _read_all(descriptor: int, seen: list[bytes]) -> None:
    while data := os.read(descriptor, 65536):
        seen.append(data)
