"""Workers of a local mode have a token that can do nothing but work."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from client_sdk import QueueClient
from deploy.cli import app
from deploy.local.data_dir import DataDir
from tests.deploy.local_mode import StartUp, status


def environment_of(pid: int) -> dict[str, str]:
    text = Path(f"/proc/{pid}/environ").read_text()
    return dict(part.split("=", 1) for part in text.split("\0") if "=" in part)


@pytest.mark.new_interpreters("a forked process has the environment of another in /proc")
def test_no_worker_has_a_token_that_submits_reads_or_administers(
    start_up: StartUp, tmp_path: Path
) -> None:
    up = start_up("--workers", "1", PENSTOCK_TOKEN="of-clients", PENSTOCK_ADMIN_TOKEN="operators")
    running = up.ready()
    file = tmp_path / "service.json"
    file.write_text(json.dumps({"metadata": {"name": "made", "instance": 1}, "engine": "echo"}))
    made = CliRunner().invoke(app, ["create", str(file), "--data", str(up.data_dir)])
    assert made.exit_code == 0, made.output
    for pid in up.wait_for("inference_worker", count=2):
        ours = [name for name in environment_of(pid) if name.startswith("PENSTOCK_")]
        assert all(name.startswith("PENSTOCK_WORKER_") for name in ours), ours
    kept = json.loads((up.data_dir / "services" / "made.json").read_text())["worker_token"]
    tokens = [(up.data_dir / "worker-token").read_text().strip(), kept]
    for token, queue in zip(tokens, ("demo", "made"), strict=True):
        url = f"{running.url}/api/predict/{queue}"
        assert status(url, token, "POST") == 403
        assert status(f"{url}/sink?_index_=0", token) == 403
        assert status(f"{running.url}/metrics", token) == 401
        assert status(f"{url}?_attrs_=true", token) == 200
    assert len(set(tokens)) == 2
    assert DataDir(up.data_dir).token_of("made") not in tokens
    assert running.token not in tokens
    with QueueClient(running.url, "demo", token="of-clients") as client:
        receipt = client.put("hello")
        (frame,) = client.sink.get(request_id=receipt.request_id, timeout_s=30)
        assert frame.data == b"hello"
