"""Ctrl-C in the middle of a command: quiet where nothing was done, else a sentence, and 130."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.deploy.local_mode import START_S, StartUp, Up, penstock
from tests.running import TOKEN, QueueServiceProcess

INTERRUPTED = 130

#: Like a slow import that turns a KeyboardInterrupt into something else.
SLOW_IMPORT = """
import threading
print("importing", flush=True)
try:
    threading.Event().wait()
except KeyboardInterrupt:
    raise ImportError("something is broken") from None
"""


def _start(*arguments: str, env: Mapping[str, str] | None = None) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
    )


def _interrupt(command: "subprocess.Popen[str]") -> str:
    """Send Ctrl-C, check the exit code, and return what stands on standard error."""
    command.send_signal(signal.SIGINT)
    _, told = command.communicate(timeout=START_S)
    assert command.returncode == INTERRUPTED, told
    assert "Traceback" not in told
    return told


def test_ctrl_c_while_it_imports_ends_quietly(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text(SLOW_IMPORT)
    command = _start("deploy.entry", "version", env={"PYTHONPATH": f"{tmp_path}:{Path.cwd()}"})
    assert command.stdout is not None
    assert command.stdout.readline() == "importing\n"
    assert _interrupt(command) == ""


def _create_that_waits(up: Up, folder: Path) -> "subprocess.Popen[str]":
    """Begin to create a service whose only instance loads for ever; return when it is made."""
    file = folder / "service.json"
    document = {
        "metadata": {"name": "slow", "instance": 1},
        "processor_entry": "slow.py:Slow",
    }
    (folder / "slow.py").write_text(
        "import threading\nclass Slow:\n    def setup(self): threading.Event().wait()\n"
        "    def predict(self, text): return text\n"
    )
    file.write_text(json.dumps(document))
    command = _start("deploy.entry", "create", str(file), "--data", str(up.data_dir))
    up.wait_for("inference_worker")
    return command


@pytest.mark.timeout(180)
def test_a_create_that_is_interrupted_says_what_is_there_and_how_to_undo_it(
    start_up: StartUp, tmp_path: Path
) -> None:
    up = start_up("--workers", "0", "--grace", "1")
    up.ready()
    told = _interrupt(_create_that_waits(up, tmp_path))
    # On a busy machine, Ctrl-C may come before the response, or before the first look.
    if "the change may or may not have been applied" not in told:
        assert "interrupted: slow was created and accepts jobs; it continues in the backgr" in told
        assert "0 of 1 instances ready" in told or "have not been checked yet" in told
        assert " desc slow` shows the progress" in told
        assert " delete slow` removes it" in told
    listed = json.loads(penstock(up, "ls", "--json").stdout)
    assert [one["name"] for one in listed] == ["demo", "slow"], "as it said"
    assert penstock(up, "delete", "slow", "--yes").returncode == 0

    unknown = penstock(up, "scale", "none", "3").stderr
    assert b"no instances of a service 'none'" in unknown
    assert b"ls` lists the services" in unknown


@pytest.mark.leaves_entries
async def test_a_put_that_waits_and_is_interrupted_says_that_its_job_goes_on(
    service: QueueServiceProcess,
) -> None:
    where = ("--url", service.url, "--token", TOKEN)
    command = _start("deploy.entry", "put", "svc", "hello", "--request-id", "r-1", "--wait", *where)
    assert command.stderr is not None
    assert command.stderr.readline() == "request r-1, waiting for the result\n"
    told = _interrupt(command)
    assert told.startswith("interrupted: the job goes on; `")
    assert f" get svc r-1 --url {service.url}` prints its result" in told


def test_a_change_whose_answer_had_not_come_says_that_it_may_be_done() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        command = _start("deploy.entry", "tokens", "revoke", "000000000000", "--yes", "--url", url)
        silent.settimeout(START_S)
        asked, _ = silent.accept()
        with asked:
            assert asked.recv(4) == b"DELE"
            told = _interrupt(command)
    assert told == (
        f"interrupted: no response from {url}; the change may or may not have been applied: check "
        "before you try again\n"
    )
