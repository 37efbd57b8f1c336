"""The signals and the threads that a user's code finds, in a real worker that ignores signals."""

import json
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from client_sdk.wire.worker import Completion, Delivery
from tests.conftest import StartWorker
from tests.inference_worker.peer import Peer
from tests.inference_worker.test_process import is_alive
from tests.running import ServerProcess, WorkerProcess, worker_env
from tests.waiting import wait_until

HANDLERS = "handler:tests.inference_worker.process_handlers"

#: As `nohup` and the background of a script do it, and worse.
IGNORING = 'trap "" INT TERM HUP QUIT USR1; exec "$@"'

Ask = Callable[..., Awaitable[list[Any]]]


@pytest.fixture
async def ask(peer: Peer, tmp_path: Path, workers: list[ServerProcess]) -> Ask:
    """Run jobs on a worker that was started with its signals ignored; return their results."""

    async def run(handler: str, *inputs: bytes, **settings: object) -> list[Any]:
        env = worker_env(
            queue_url=peer.url, service="svc", engine=f"{HANDLERS}:{handler}", **settings
        )
        worker = WorkerProcess(env, log_path=tmp_path / "worker.log")
        worker.argv = ["/bin/sh", "-c", IGNORING, "sh", *worker.argv]
        workers.append(worker)
        await worker.start()
        await wait_until(lambda: peer.connected, "the worker is connected")
        for index, data in enumerate(inputs, 1):
            await peer.deliver(Delivery(index, 1, f"r-{index}", data, max_delivery=3))
        await wait_until(lambda: len(peer.answers) == len(inputs), "all are answered", 60)
        results = []
        for answer in sorted(peer.answers, key=lambda answer: answer.index):
            assert isinstance(answer, Completion), answer
            assert answer.result is not None
            assert "errorCode" not in answer.result.tags, answer
            results.append(json.loads(answer.result.data))
        return results

    return run


@pytest.mark.parametrize("own_process", [True, False])
async def test_children_of_a_handler_have_the_default_signals(ask: Ask, own_process: bool) -> None:
    ends = await ask(
        "StartsProcesses",
        *(b"terminate", b"interrupt", b"fork", b"forkserver", b"spawn", b"masks"),
        engine_process=own_process,
    )
    assert ends[:2] == [-signal.SIGTERM, -signal.SIGINT]
    assert ends[2:5] == [[1, 4, 9]] * 3
    assert ends[5] == {"SigIgn": 0, "SigBlk": 0}


async def test_the_engine_has_the_handlers_of_a_program_in_a_shell(ask: Ask) -> None:
    [found] = await ask("StartsProcesses", b"own")
    assert found[0].startswith("<built-in function default_int_handler>")
    assert found[1:] == ["0", "0", "0"]  # signal.SIG_DFL


async def test_what_a_handler_started_does_not_outlive_a_killed_worker(
    ask: Ask, workers: list[ServerProcess]
) -> None:
    [pid] = await ask("StartsProcesses", b"leave")
    assert is_alive(pid)
    workers[0].kill()
    await wait_until(lambda: not is_alive(pid), "the grandchild has ended")


async def test_setup_runs_in_the_main_thread_and_so_does_predict_of_one_job_at_a_time(
    start_worker: StartWorker, peer: Peer
) -> None:
    engine = f"{HANDLERS}:NeedsMainThread"
    await start_worker(peer.url, engine=engine, worker_threads=1)
    await wait_until(lambda: peer.connected, "the worker is connected")
    await peer.deliver(Delivery(1, 1, "r-1", b"x", max_delivery=3))
    await wait_until(lambda: peer.answers, "it is answered")
    assert peer.completions[0].result is not None
    assert peer.completions[0].result.data == b"1 True"


async def test_coroutines_share_the_loop_of_the_main_thread(
    start_worker: StartWorker, peer: Peer
) -> None:
    await start_worker(peer.url, engine=f"{HANDLERS}:AsyncInMainThread")
    await wait_until(lambda: peer.connected, "the worker is connected")
    await peer.deliver(Delivery(1, 1, "r-1", b"x", max_delivery=3))
    await wait_until(lambda: peer.answers, "it is answered")
    assert peer.completions[0].result is not None
    assert json.loads(peer.completions[0].result.data) == [True, True]


@pytest.mark.parametrize("own_process", [True, False])
async def test_a_setup_that_fails_shows_its_traceback_and_the_line(
    start_worker: StartWorker, peer: Peer, own_process: bool
) -> None:
    worker = await start_worker(
        peer.url, wait=False, engine=f"{HANDLERS}:FailsInSetup", engine_process=own_process
    )
    await wait_until(lambda: not worker.running, "the worker has ended")
    lines = [line.strip() for line in worker.log.splitlines() if line.strip()]
    trace = lines.index("Traceback (most recent call last):")
    assert "in setup" in lines[trace + 1], worker.log
    assert "in fails_deep_inside" in worker.log
    reason = "did not load: ValueError: the weights are wrong ("
    assert f"{reason}{Path(__file__).with_name('process_handlers.py')}:" in lines[-1]


async def test_a_module_that_fails_shows_its_traceback_and_the_line(
    start_worker: StartWorker, peer: Peer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "broken_module.py"
    module.write_text("import os\n\nprint(os.environ['NO_SUCH_VARIABLE'])\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    worker = await start_worker(peer.url, wait=False, engine="handler:broken_module:Handler")
    await wait_until(lambda: not worker.running, "the worker has ended")
    assert f'File "{module}", line 3' in worker.log
    assert f"KeyError: 'NO_SUCH_VARIABLE' ({module}:3)" in worker.log.strip().splitlines()[-1]
