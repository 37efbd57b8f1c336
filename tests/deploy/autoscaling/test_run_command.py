"""`penstock autoscale run`: two of them, and one is killed."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from typer.testing import CliRunner

from client_sdk import AsyncQueueClient
from deploy.autoscaling.scale_api import ScaleApi
from deploy.cli import app
from tests.conftest import StartService
from tests.deploy.processes import alive
from tests.running import ADMIN_TOKEN, TOKEN, worker_env
from tests.waiting import wait_until

SETTINGS = """{"min": 0, "max": 2, "behavior": {
    "scaleDown": {"stabilizationWindowSeconds": 1},
    "onZero": {"scaleDownGracePeriodSeconds": 1}}}"""

#: Starts workers in the background, and keeps their process ids.
START = """
for number in $(seq $(($2 + 1)) $3); do
    setsid "$PYTHON" -m inference_worker >> "$FOLDER/worker.log" 2>&1 &
    echo $! >> "$FOLDER/pids"
done
"""


class Autoscalers:
    """Processes of `penstock autoscale run --driver command`, and the workers that they start."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url
        self.running: list[subprocess.Popen[bytes]] = []
        (folder / "settings.json").write_text(SETTINGS)
        (folder / "scale.sh").write_text(START)
        (folder / "pids").touch()

    def start(self) -> tuple[subprocess.Popen[bytes], Path]:
        """Start one; return it and its log."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("PENSTOCK_")}
        log = self.folder / f"autoscaler-{len(self.running)}.log"
        options = ["--driver", "command", "--command", f"bash {self.folder / 'scale.sh'}"]
        options += ["--settings", str(self.folder / "settings.json"), "--lease", "2"]
        options += ["--interval", "0.2", "--url", self.url, "--admin-token", ADMIN_TOKEN]
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "deploy.cli", "autoscale", "run", *options],
                env={
                    **inherited,
                    **worker_env(queue_url=self.url, service="svc"),
                    "PYTHON": sys.executable,
                    "FOLDER": str(self.folder),
                    "PYTHONUNBUFFERED": "1",
                },
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        self.running.append(process)
        return process, log

    @property
    def workers(self) -> list[int]:
        """The process ids of all workers that were started."""
        return [int(line) for line in (self.folder / "pids").read_text().split()]

    def end(self) -> None:
        for process in self.running:
            process.kill()
            process.wait()
        for pid in self.workers:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def made() -> Iterator[list[Autoscalers]]:
    found: list[Autoscalers] = []
    yield found
    for one in found:
        one.end()


@pytest.mark.slow
async def test_the_work_of_a_killed_autoscaler_is_taken_over(
    start_service: StartService, tmp_path: Path, made: list[Autoscalers]
) -> None:
    service = await start_service({"name": "svc", "max_delivery": 1})
    autoscalers = Autoscalers(tmp_path, service.url)
    made.append(autoscalers)
    first, first_log = autoscalers.start()
    await wait_until(lambda: "from now on" in first_log.read_text(), "the first one decides")
    second, second_log = autoscalers.start()
    await wait_until(lambda: "another autoscaler" in second_log.read_text(), "the second waits")
    first.kill()
    async with (
        AsyncQueueClient(service.url, "svc", token=TOKEN) as client,
        ScaleApi(service.url, ADMIN_TOKEN) as api,
    ):
        await client.put(b"after the kill")
        frames = await client.sink.get(timeout_s=30)
        while not frames:
            frames = await client.sink.get(timeout_s=30)
        assert [frame.data for frame in frames] == [b"after the kill"]
        assert "lastCode" not in frames[0].tags
        assert len(autoscalers.workers) == 1
        await wait_until(
            lambda: not alive(autoscalers.workers[0]), "the worker has left by itself", 60
        )
        assert "SIG" not in (tmp_path / "worker.log").read_text()
        second.send_signal(signal.SIGTERM)
        await wait_until(lambda: second.poll() is not None, "the second one has ended")
        assert second.returncode == 0, second_log.read_text()
        # It has given the lease back.
        assert (await api.figures("svc"))["wanted"] is None


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--driver", "command"], "expected --command"),
        (["--driver", "docker"], "expected --project"),
        (["--driver", "swarm"], "expected --project"),
        (["--driver", "kubernetes"], "kubernetes"),
        ([], "--driver"),
    ],
)
def test_a_wrong_command_line_says_what_was_expected(options: list[str], expected: str) -> None:
    url = ["--url", "http://127.0.0.1:1", "--admin-token", "x"]
    ended = CliRunner().invoke(app, ["autoscale", "run", *options, *url])
    assert ended.exit_code == 2
    assert expected in ended.output


def test_settings_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "settings.json"
    path.write_text('{"min": 0, "max": 1, "strategies": []}')
    url = ["--url", "http://127.0.0.1:1", "--driver", "command", "--command", "true"]
    ended = CliRunner().invoke(app, ["autoscale", "run", *url, "--settings", str(path)])
    assert ended.exit_code == 2
    assert "strategies" in ended.output
