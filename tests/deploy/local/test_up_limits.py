"""Options of `penstock up` for limits and addresses."""

import json
import urllib.request
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy.cli import app
from tests.deploy.local_mode import StartUp


def test_limits_and_the_address_reach_the_queue_service(start_up: StartUp) -> None:
    up = start_up(
        *("--workers", "0", "--host", "::", "--memory-mb", "100", "--sink-memory-ratio", "0.25"),
        *("--input-max-length", "7", "--sink-max-payload-kb", "2048"),
    )
    running = up.ready()
    assert running.url.startswith("http://[::1]:")
    url = f"{running.url}/v1/services/{running.service}"
    request = urllib.request.Request(url, headers={"Authorization": running.admin_token})
    with urllib.request.urlopen(request, timeout=60) as answer:
        described = json.load(answer)
    assert described["input"]["capacity"] == 7
    assert described["sink"]["max_payload_bytes"] == 2048 * 1024
    assert described["settings"]["memory"] == 100
    assert described["settings"]["sink_memory_ratio"] == 0.25


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--input-max-length", "5", "--input-max-payload-kb", "8"], "not both for one queue"),
        (["--sink-memory-ratio", "1.5"], "sink_memory_ratio"),
    ],
)
def test_limits_that_contradict_each_other_start_nothing(
    tmp_path: Path, options: list[str], said: str
) -> None:
    ended = CliRunner().invoke(app, ["up", "--data", str(tmp_path / "data"), *options])
    assert ended.exit_code == 2
    assert said in " ".join(ended.output.split())
    assert not (tmp_path / "data").exists()
