"""The documented service.json files at work: created, used, scaled, changed, stopped, deleted."""

import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from client_sdk import QueueClient
from client_sdk.errors import ServiceStopped, Unauthorized
from deploy.admin import AdminApi
from deploy.local.data_dir import DataDir
from tests.deploy.local_mode import Cli, StartUp, penstock
from tests.deploy.processes import alive
from tests.waiting import wait_until_blocking

pytestmark = pytest.mark.timeout(240)

#: A small HTTP server in the place of the chat web UI; it says which of them has answered.
SERVER = """
import os, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        answer = b"%d %s %s" % (os.getpid(), os.environ["GREETING"].encode(), body)
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
    def log_message(self, *arguments):
        pass

port = int(sys.argv[1].partition("=")[2])
ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""

#: As the documentation has it, with the server's own command in place of the web UI's.
CHAT = """
{
    "metadata": {
        "name": "chat",
        "instance": 1,
        "type": "Async",
        "rpc.worker_threads": 4,   # as many at once
    },
    "cloud": {"computing": {"instance_type": "ecs.gn6i-c16g1.4xlarge"}},
    "queue": {"cpu": 1, "max_delivery": 1, "min_replica": 1, "memory": 4000, "resource": ""},
    "containers": [
        {
            "image": "registry.example.com/chat:1.0",
            "script": "PYTHON server.py --port=8000",
            "port": 8000,
            "env": [{"name": "GREETING", "value": "GREETS"}],
        },
    ],
}
"""

PROCESSOR = Path(__file__).parents[3] / "examples" / "allspark_processor.py"
BATCHED = PROCESSOR.with_name("batched.py")
FLOWERS = Path(__file__).parents[3] / "examples" / "pmml_model" / "flowers.pmml"


@pytest.fixture
def cli(start_up: StartUp) -> Cli:
    return Cli(start_up("--workers", "0"))


@pytest.fixture
def chat(tmp_path: Path) -> Path:
    """Write the chat service's file, beside its server."""
    (tmp_path / "server.py").write_text(SERVER)
    return _chat(tmp_path, greets="Hello")


def _chat(folder: Path, *, greets: str) -> Path:
    file = folder / "chat.json"
    file.write_text(CHAT.replace("PYTHON", sys.executable).replace("GREETS", greets))
    return file


def _ask(client: QueueClient, question: str) -> list[str]:
    """Put a question; return the words of its answer."""
    receipt = client.put(question)
    (frame,) = client.sink.get(request_id=receipt.request_id, timeout_s=30)
    return frame.data.decode().split()


class Putting(threading.Thread):
    """Puts without a pause until `end`; what a put raises is kept."""

    def __init__(self, client: QueueClient) -> None:
        super().__init__(daemon=True)
        self.put = 0
        self.error: Exception | None = None
        self._client = client
        self._ending = threading.Event()

    def run(self) -> None:
        try:
            while not self._ending.is_set():
                self._client.put(f"question {self.put}")
                self.put += 1
        except Exception as error:
            self.error = error

    def end(self) -> int:
        self._ending.set()
        self.join()
        assert self.error is None
        return self.put


def test_a_container_service_is_created_scaled_changed_and_deleted(
    cli: Cli, chat: Path, tmp_path: Path
) -> None:
    made = cli("create", str(chat))
    assert (made["state"], made["local"]["instances_wanted"]) == ("running", 1)
    (worker,) = made["input"]["subscribers"]
    assert worker["window"] == 4
    assert made["settings"]["max_delivery"] == 1
    with cli.client("chat") as client:
        assert _ask(client, "you")[1:] == ["Hello", "you"]

        cli("scale", "chat", "3")
        assert len(set(cli.pids("chat"))) == 3
        before = set(cli.pids("chat"))

        # The inference part is replaced while the queue part goes on taking requests.
        putting = Putting(client)
        putting.start()
        _chat(tmp_path, greets="Goodbye")
        changed = cli("modify", str(chat))
        assert len(changed["local"]["instances"]) == 1
        assert not before & set(cli.pids("chat"))
        cli("restart", "chat")
        count = putting.end()
        assert count > 0
        results = 0
        while results < count:
            results += len(client.sink.get(length=1000, timeout_s=30))
        assert _ask(client, "you")[1:] == ["Goodbye", "you"]

        client.sink.put("a result that nobody has read")
        gone = cli("delete", "chat", "--yes")
        assert gone["deleted_entries"] == {"input": 0, "sink": 1}
        # Its token went with it, and opens nothing any more.
        with pytest.raises(Unauthorized):
            client.put("too late")
    assert [one["name"] for one in cli("ls")] == ["demo"]
    assert not any(alive(pid) for pid in before)


def test_a_stopped_service_keeps_its_entries_and_comes_back(start_up: StartUp, chat: Path) -> None:
    up = start_up("--workers", "0")
    cli = Cli(up)
    cli("create", str(chat))
    assert penstock(up, "scale", "chat", "0").stdout == b"chat: no instance, jobs will wait\n"
    with cli.client("chat") as client:
        receipt = client.put("kept")
        stopped = cli("stop", "chat")
        assert (stopped["state"], stopped["replicas"]) == ("stopped", [])
        assert stopped["input"]["length"] == 1
        assert penstock(up, "stop", "chat").stdout == b"chat: stopped, no instance runs\n"
    with (
        QueueClient(
            cli.running.url, "chat", token=DataDir(up.data_dir).token_of("chat"), retry=None
        ) as client,
        pytest.raises(ServiceStopped),
    ):
        client.put("refused")

    # Not even a restart of everything starts it.
    assert up.end() == 0
    again = Cli(start_up("--workers", "0", data_dir=up.data_dir))
    (service,) = [one for one in again("ls") if one["name"] == "chat"]
    assert (service["state"], service["local"]["instances"]) == ("stopped", [])
    again("start", "chat")
    again("scale", "chat", "1")
    with again.client("chat") as client:
        (frame,) = client.sink.get(request_id=receipt.request_id, timeout_s=30)
        assert frame.data.split()[1:] == [b"Hello", b"kept"]
    again("delete", "chat", "--yes")


def test_a_restart_of_everything_brings_services_and_instances_back(
    start_up: StartUp, chat: Path
) -> None:
    up = start_up("--workers", "0")
    cli = Cli(up)
    cli("create", str(chat))
    cli("scale", "chat", "2")
    # An operator changes it without the file; the new worker token is unknown to the file too.
    admin = AdminApi(cli.running.url, cli.running.admin_token)
    settings = admin.ask("GET", "/v1/services/chat")["settings"]
    changed = {**settings, "max_delivery": 7, "worker_token": "a-token-of-others"}
    admin.ask("PUT", "/v1/services/chat", changed)
    assert up.end() == 0
    again = Cli(start_up("--workers", "0", data_dir=up.data_dir))

    def two() -> bool:
        return len(again.pids("chat")) == 2

    wait_until_blocking(two, "both instances are back, with a token that lets them in", 60)
    assert again("desc", "chat")["settings"] == {**settings, "max_delivery": 7}
    with again.client("chat") as client:
        assert _ask(client, "again")[1:] == ["Hello", "again"]


def test_a_worker_that_was_killed_is_not_counted_as_ready(cli: Cli, chat: Path) -> None:
    cli("create", str(chat))
    cli("scale", "chat", "2")
    first, second = cli.pids("chat")
    os.kill(first, signal.SIGKILL)
    wait_until_blocking(lambda: cli.pids("chat") == [second], "one of two is ready")
    wait_until_blocking(lambda: len(cli.pids("chat")) == 2, "the other is back")
    assert first not in cli.pids("chat")
    cli("delete", "chat", "--yes")


def test_a_pmml_service_is_created_and_serves(cli: Cli, tmp_path: Path) -> None:
    pytest.importorskip("pypmml")
    file = tmp_path / "service.json"
    file.write_text(
        json.dumps(
            {
                "processor": "pmml",
                "model_path": str(FLOWERS),
                "metadata": {
                    "name": "pmmlasync",
                    "type": "Async",
                    "cpu": 4,
                    "instance": 1,
                    "memory": 8000,
                },
            }
        )
    )
    made = cli("create", str(file))
    assert made["input"]["subscribers"][0]["window"] == 5
    record = {"petal_length": 1.4, "petal_width": 0.2, "sepal_length": 5.1, "sepal_width": 3.5}
    with cli.client("pmmlasync") as client:
        receipt = client.put(json.dumps([record]))
        (frame,) = client.sink.get(request_id=receipt.request_id, timeout_s=60)
        assert json.loads(frame.data)[0]["flower"] == "setosa"
        cli("scale", "pmmlasync", "3")
        assert len(set(cli.pids("pmmlasync"))) == 3
        document = json.loads(file.read_text())
        document["queue"] = {"max_delivery": 2}
        document["metadata"]["instance"] = 1
        file.write_text(json.dumps(document))
        changed = cli("modify", str(file))
        assert changed["settings"]["max_delivery"] == 2
        receipt = client.put(json.dumps(record))
        (frame,) = client.sink.get(request_id=receipt.request_id, timeout_s=60)
        assert json.loads(frame.data)["flower"] == "setosa"
    assert cli("delete", "pmmlasync", "--yes")["deleted_entries"] == {"input": 0, "sink": 0}


def test_a_processor_of_eas_is_found_in_its_file(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(PROCESSOR.read_text())
    file = tmp_path / "service.json"
    file.write_text(
        json.dumps(
            {
                "metadata": {"name": "line", "instance": 1},
                "processor_type": "python",
                "processor_entry": "./app.py",
            }
        )
    )
    made = cli("create", str(file))
    assert made["local"]["engine"] == "allspark:app:Line"
    with cli.client("line") as client:
        assert _ask(client, "1 5") == ["True"]
    listed = cli("workers", "line")[0]
    assert len(listed["subscribers"]) == len(listed["replicas"]) == 1
    assert listed["replicas"][0]["about"]["version"]
    cli("delete", "line", "--yes")


def test_a_class_says_its_window_where_the_file_does_not(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "batched.py").write_text(BATCHED.read_text())
    file = tmp_path / "service.json"
    document: dict[str, Any] = {"name": "texts", "processor_entry": "batched.py:Sentiment"}
    for threads, window in ((None, 16), (4, 4)):
        if threads:
            document["rpc.worker_threads"] = threads
        file.write_text(json.dumps(document))
        made = cli("modify" if threads else "create", str(file))
        assert [one["window"] for one in made["input"]["subscribers"]] == [window]


def test_what_cannot_run_is_reported_and_affects_no_other(
    cli: Cli, chat: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.json"
    cli("create", str(chat))
    for document, code, says in (
        ({"metadata": {"name": "bad", "instance": -1}, "processor": "echo"}, 2, "instance"),
        ({"metadata": {"name": "bad"}, "processor": "tensorflow"}, 2, "expected one of pmml"),
        ({"metadata": {"name": "bad"}, "processor": "pmml", "model_path": "x"}, 2, "model_path"),
        ({"metadata": {"name": "chat"}, "processor": "echo"}, 1, "already exists"),
        ({"metadata": {"name": "demo"}, "processor": "echo"}, 1, "already exists"),
        ({"metadata": {"name": "bad"}, "containers": [{"image": "a/b"}]}, 1, "render compose"),
        (
            {
                "metadata": {"name": "bad", "instance": 2},
                "containers": [{"script": "./serve", "port": 8000}],
            },
            1,
            "always listens on port 8000",
        ),
        ({"metadata": {"name": "bad"}, "processor_entry": "none.py"}, 2, "processor_entry"),
    ):
        bad.write_text(json.dumps(document))
        said = cli("create", str(bad), code=code)
        assert says in said, (document, said)
    assert {one["name"] for one in cli("ls")} == {"demo", "chat"}

    # An engine that gives up at once: the reason is shown, the other service goes on.
    (tmp_path / "broken.py").write_text(
        "class Broken:\n    def predict(self, text): 1 / 0\nx = 1 / 0\n"
    )
    bad.write_text(json.dumps({"metadata": {"name": "bad"}, "processor_entry": "broken.py:Broken"}))
    failed = cli("create", str(bad), code=1)
    assert failed["local"]["instances"][0]["state"] == "failed"
    assert "division by zero" in failed["local"]["instances"][0]["reason"]
    with cli.client("chat") as client:
        assert _ask(client, "you")[1:] == ["Hello", "you"]
    for command in (["ls"], ["desc", "bad"]):
        (row,) = [line for line in cli.printed(*command).splitlines() if "0/1, 1 failed" in line]
        assert row.split()[:2] == ["bad", "failed"], row
    assert " modify FILE`; " in cli.printed("restart", "bad", code=1)
    # After the fix the file, though it says what it said, is taken as another try.
    (tmp_path / "broken.py").write_text("class Broken:\n    def predict(self, x): return x\n")
    assert "1 of 1 instances ready" in cli.printed("modify", str(bad))
    for name in ("bad", "chat"):
        cli("delete", name, "--yes")
