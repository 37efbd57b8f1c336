"""`penstock up`: the real processes, from one command, and nothing left behind."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from client_sdk import QueueClient
from deploy.admin import AdminApi
from deploy.local.redis_server import free_port, is_free
from tests.deploy.local_mode import START_S, STOP_S, StartUp, penstock
from tests.deploy.processes import alive, descendants
from tests.waiting import wait_until_blocking


@pytest.mark.timeout(180)
def test_a_job_goes_in_and_its_result_comes_out_and_nothing_is_left(start_up: StartUp) -> None:
    up = start_up("--workers", "2")
    running = up.ready()
    up.wait_for("inference_worker", count=2)
    below = descendants(up.process.pid)

    waited = penstock(up, "put", "demo", "hello", "--wait", "--timeout", "30")
    assert (waited.returncode, waited.stdout) == (0, b"hello"), waited.stderr

    put = penstock(up, "put", "demo", "-", "--tag", "a=b", "--json", data=b"\x00\xff")
    receipt = json.loads(put.stdout)
    got = penstock(up, "get", "demo", receipt["request_id"], "--timeout", "30", "--json")
    frame = json.loads(got.stdout)
    assert (frame["request_id"], frame["data_base64"]) == (receipt["request_id"], "AP8=")
    assert frame["tags"]["a"] == "b"

    penstock(up, "put", "demo", "watched")
    watched = penstock(up, "watch", "demo", "--count", "1")
    assert watched.stdout.endswith(b"\twatched\n")

    assert penstock(up, "get", "demo").returncode == 3
    assert up.end() == 0, up.log
    assert not [pid for pid in below if alive(pid)]
    assert is_free(int(running.url.rpartition(":")[2]))
    # In order: first the workers, then the queue service, then Redis.
    ends = [up.log.rfind(f"\n{name}") for name in ("worker-1 ", "queue-service ", "redis ")]
    assert ends == sorted(ends), up.log


@pytest.mark.timeout(180)
def test_a_killed_worker_and_a_killed_queue_service_come_back(start_up: StartUp) -> None:
    up = start_up()
    up.ready()
    for module in ("inference_worker", "queue_service"):
        (victim,) = up.wait_for(module)
        os.kill(victim, signal.SIGKILL)
        up.wait_for(module, without=victim)
    # The process is there before it listens, and a put does not wait for that.
    port = int(up.ready().url.rpartition(":")[2])
    wait_until_blocking(lambda: not is_free(port), "the queue service listens again", START_S)
    waited = penstock(up, "put", "demo", "still here", "--wait", "--timeout", "60")
    assert waited.stdout == b"still here", waited.stderr + up.log.encode()


@pytest.mark.timeout(180)
def test_what_was_put_survives_a_kill_of_everything(start_up: StartUp) -> None:
    up = start_up("--workers", "0")
    up.ready()
    below = descendants(up.process.pid)
    put = penstock(up, "put", "demo", "kept")
    assert put.returncode == 0, put.stderr
    up.process.kill()
    up.process.wait()
    wait_until_blocking(lambda: not any(map(alive, below)), "its children died with it", STOP_S)

    again = start_up("--workers", "1")
    again.ready()
    # The worker may have taken it by the time that it is counted.
    said = "Left over from an earlier run: "
    wait_until_blocking(lambda: said in again.log, "it is said", START_S)
    got = penstock(again, "get", "demo", put.stdout.decode().strip(), "--timeout", "30")
    assert got.stdout == b"kept", (got, again.log)


@pytest.mark.timeout(120)
def test_a_second_ctrl_c_does_not_wait_for_long_jobs(start_up: StartUp) -> None:
    up = start_up("--engine-options", '{"delay_s": 600}')
    running = up.ready()
    with QueueClient(running.url, running.service, token=running.token) as client:
        client.put(b"long")
        wait_until_blocking(
            lambda: "Pending: 1," in str(client.attributes()), "the worker holds it", START_S
        )
    up.process.send_signal(signal.SIGINT)
    wait_until_blocking(lambda: "1 held" in up.log, "the worker begins to leave", STOP_S)
    assert up.end() == 0, up.log
    # After the second signal it gave its job back, which is not charged.
    assert "is rejected with Shutdown" in up.log


@pytest.mark.timeout(120)
def test_two_do_not_share_a_directory(start_up: StartUp) -> None:
    first = start_up("--workers", "0")
    first.ready()
    second = start_up("--workers", "0")
    assert second.process.wait(START_S) == 1
    assert "another `penstock up` runs on" in second.log


def test_a_port_that_is_taken_is_said_before_anything_starts(start_up: StartUp) -> None:
    up = start_up("--workers", "0")
    port = up.ready().url.rpartition(":")[2]
    other = start_up("--port", port, data_dir=up.data_dir.with_name("other"))
    assert other.process.wait(START_S) == 1
    assert f"port {port} is in use" in other.log
    assert "redis" not in other.log
    # The reason comes first, once, with the option that helps.
    assert other.log.startswith(f"port {port} is in use")
    assert "--port" in other.log
    assert other.log.count("is in use") == 1


def test_an_engine_that_does_not_exist_stops_it_with_the_workers_words(start_up: StartUp) -> None:
    up = start_up("--engine", "handler:no.such.module:Class")
    assert up.process.wait(START_S) == 1
    assert re.search(r"worker-1 ended with \d", up.log), up.log
    assert up.log.count("a module no.such.module that can be imported") == 1, up.log
    assert "see its output above" in up.log
    assert not descendants(up.process.pid)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--engine", "ecko"), "got ecko"),
        (("--engine-options", "{bad"), "the options of an engine are JSON"),
        (("--engine-options", "[1]"), "a JSON object"),
        (("--engine-options", '{"colour": 1}'), "expected options that echo knows"),
    ],
)
def test_an_engine_that_makes_no_sense_is_refused_before_anything_starts(
    start_up: StartUp, options: tuple[str, ...], sentence: str
) -> None:
    up = start_up(*options)
    assert up.process.wait(START_S) == 2
    assert sentence in up.log
    assert "Traceback" not in up.log
    assert not up.data_dir.exists()


@pytest.mark.timeout(120)
def test_it_is_ready_when_a_worker_is_connected(start_up: StartUp) -> None:
    up = start_up("--engine", "handler:tests.inference_worker.handlers:LoadsForever")
    up.ready()
    wait_until_blocking(lambda: "is loading" in up.log, "the worker loads", START_S)
    assert "Accepting jobs at http://" in up.log
    assert "Ready." not in up.log

    echo = start_up(data_dir=up.data_dir.with_name("echo"))
    wait_until_blocking(lambda: "Ready." in echo.log, "its worker is connected", START_S)
    # Only lines of one process have an order: what the worker logs may come later than it is done.
    assert echo.log.index("Accepting") < echo.log.index("Ready.")
    running = echo.ready()
    listed = AdminApi(running.url, running.admin_token).ask("GET", "/v1/services/demo")
    (worker,) = listed["input"]["subscribers"]
    assert (worker["connected"], worker["window"] > 0) == (True, True)
    assert alive(worker["about"]["pid"])
    assert " # " not in echo.log, "Redis has nothing to warn of"


@pytest.mark.timeout(120)
def test_a_payload_may_be_large_and_a_limit_can_be_set(start_up: StartUp) -> None:
    usual = start_up("--workers", "0")
    tight = start_up(
        "--workers", "0", "--max-payload-kb", "1024", data_dir=Path(f"{usual.data_dir}-2")
    )
    sizes = ((usual, 8193, 0), (usual, 1_100_000, 0), (tight, 900_000, 0), (tight, 1_100_000, 1))
    for up, size, code in sizes:
        up.ready()
        assert penstock(up, "put", "demo", "-", data=bytes(size)).returncode == code


@pytest.mark.timeout(120)
def test_settings_that_do_nothing_here_are_named_and_jobs_wait_for_a_worker(
    start_up: StartUp,
) -> None:
    up = start_up("--workers", "0", PENSTOCK_SERVICES="[]", PENSTOCK_TOKEN="mine")
    assert up.ready().token == "mine"
    assert "PENSTOCK_SERVICES is ignored here; use --service" in up.log
    wait_until_blocking(lambda: "No workers: jobs will wait." in up.log, "it is said", START_S)
    # What it says goes to files and histories.
    assert "mine" not in up.log
    assert '-H "Authorization: Bearer $PENSTOCK_TOKEN"' in up.log


def test_the_token_stays_the_same_over_a_restart(start_up: StartUp) -> None:
    first = start_up("--workers", "0")
    token = first.ready().token
    assert first.end(signal.SIGTERM) == 0
    again = start_up("--workers", "0")
    assert again.ready().token == token


def test_without_a_running_local_mode_a_put_says_how_to_start_one(tmp_path: Path) -> None:
    put = subprocess.run(
        [sys.executable, "-m", "deploy.cli", "put", "demo", "x", "--data", str(tmp_path)],
        capture_output=True,
        check=False,
        env={k: v for k, v in os.environ.items() if not k.startswith("PENSTOCK_")},
    )
    assert put.returncode == 4
    assert f"nothing runs on {tmp_path}; start it with".encode() in put.stderr
    assert b"--token @FILE), for services with PENSTOCK_ADMIN_TOKEN (or --admin-token" in put.stderr


def test_a_queue_service_that_does_not_answer_has_an_exit_code_of_its_own(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    put = subprocess.run(
        [sys.executable, "-m", "deploy.cli", "put", "demo", "x", "--url", url],
        capture_output=True,
        check=False,
    )
    assert put.returncode == 4
