"""The examples of the documents run as a reader pastes them; what cannot run here is named."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import forking
from tests.documents.blocks import ROOT, block, blocks
from tests.documents.command_server import command_server
from tests.documents.pasting import Folder, environment
from tests.machines import guide
from tests.running import free_port

PAGES = (
    "README.md",
    "deploy/README.md",
    "docs/command-line.md",
    "docs/jobs.md",
    "docs/large-files.md",
    "docs/local-mode.md",
    "docs/openai.md",
    "docs/python-client.md",
    "docs/several-machines.md",
    "docs/your-model.md",
    "examples/http_server/README.md",
    "examples/media/README.md",
    "examples/pmml_model/README.md",
    "examples/poster/README.md",
    "examples/video_to_frames/README.md",
)

HERE = "tests/documents/test_commands.py"
SDK = "tests/client_sdk/test_readme.py"

#: Which test runs a block, by the block's page and first line.
RUN = {
    ("README.md", "make up"): f"{HERE}::local_mode",
    (
        "README.md",
        "curl -H \"Authorization: Bearer $(cat .penstock/token)\" -d 'How long may a job run?' "
        "'http://127.0.0.1:8080/v1/services/demo/jobs?wait=60s'",
    ): f"{HERE}::test_the_first_job_from_a_shell",
    ("README.md", "from pathlib import Path"): (
        "tests/documents/test_first_job.py::test_the_first_job_from_python_prints_its_result"
    ),
    ("README.md", 'make up ARGS="--engine handler:my_model:Sentiment --workers 2"'): (
        f"{HERE}::test_a_local_mode_with_a_handler"
    ),
    ("README.md", "penstock create service.json"): f"{HERE}::test_a_service_and_a_token_for_it",
    (
        "README.md",
        "CUDA_VISIBLE_DEVICES=0 penstock worker --url http://queue:8080 --service demo "
        "--token-file worker-token \\",
    ): f"{HERE}::test_a_worker_by_hand",
    ("docs/python-client.md", "from pathlib import Path"): (
        f"{SDK}::test_the_clients_examples_work"
    ),
    ("docs/python-client.md", "import asyncio"): f"{SDK}::test_the_workers_example_works",
    ("docs/local-mode.md", "penstock up --workers 2 --engine handler:my_model:Sentiment"): (
        f"{HERE}::test_a_local_mode_with_a_handler"
    ),
    ("docs/command-line.md", "penstock put demo 'What is a sink?' --wait"): (
        f"{HERE}::test_the_commands_for_entries_and_results"
    ),
    ("docs/command-line.md", "penstock queue put demo 'hello' --tag user=ann --priority 1"): (
        f"{HERE}::test_the_commands_for_one_queue"
    ),
    ("docs/command-line.md", "penstock run demo 'What is a sink?'"): (
        "tests/documents/test_command_line.py::test_the_commands_of_the_page_work"
    ),
    ("docs/jobs.md", "JOBS=http://127.0.0.1:8080/v1/services/demo/jobs"): (
        f"{HERE}::test_the_jobs_api_with_curl"
    ),
    ("docs/openai.md", "from pathlib import Path"): f"{HERE}::test_the_client_of_openai",
    ("docs/openai.md", "from collections.abc import Iterator"): (
        "tests/queue_service/web/openai/test_other_services.py::test_the_documents_handler_is_a_chat"
    ),
    ("docs/openai.md", "from PIL import Image"): (
        "tests/queue_service/web/openai/test_media.py::test_the_painter_of_the_documents"
    ),
    (
        "docs/openai.md",
        'video = client.videos.create_and_poll(model="films", prompt="a cat", size="1280x720")',
    ): (
        "tests/queue_service/web/openai/test_videos.py::test_a_video_is_created_polled_and_fetched"
    ),
    ("examples/http_server/README.md", "export PENSTOCK_WORKER_ENGINE=http"): (
        f"{HERE}::test_a_server_beside_the_worker"
    ),
    (
        "examples/http_server/README.md",
        "curl -H \"Authorization: $(cat .penstock/token)\" -d 'to be or not to be' \\",
    ): f"{HERE}::test_a_server_beside_the_worker",
    ("examples/pmml_model/README.md", "make venv"): f"{HERE}::test_a_pmml_model",
    (
        "examples/pmml_model/README.md",
        'curl -H "Authorization: Bearer $(cat .penstock/token)" -d '
        '\'[{"petal_length": 1.4, "petal_width": 0.2}]\' \\',
    ): f"{HERE}::test_a_pmml_model",
    **{
        (guide.PAGE, first_line): "tests/machines/test_guide.py::test_the_guide_works_as_pasted"
        for first_line in guide.BLOCKS
    },
    (
        "docs/your-model.md",
        "PENSTOCK_WORKER_QUEUE_URL=http://127.0.0.1:8080 PENSTOCK_WORKER_SERVICE=demo \\",
    ): f"{HERE}::test_a_worker_by_hand",
}

_MEDIA = "tests/examples/test_media.py does it with its own service"
#: What no test runs, and why.
NOT_RUN = {
    ("docs/your-model.md", "def predict(self, prompt: str, ctx: Context) -> None:"): (
        "tests/inference_worker/test_artifacts.py has handlers that add artifacts"
    ),
    ("docs/jobs.md", '$ curl -H "$AUTH" "$JOBS/my-job/logs?tail=2"'): (
        "tests/inference_worker/test_job_logs.py reads the log of a job"
    ),
    ("docs/jobs.md", '$ curl -H "$AUTH" "$JOBS/my-job/artifacts"'): (
        "tests/inference_worker/test_artifacts.py asks for the artifacts of a job"
    ),
    **{
        ("examples/media/README.md", first_line): _MEDIA
        for first_line in (
            ".venv/bin/pip install -c constraints.txt -e '.[worker,diffusers]'",
            'make up ARGS="--engine pipeline:text-to-image:/tmp/tiny/text-to-image"',
            "curl -H \"Authorization: $(cat .penstock/token)\" -d 'a house' -o house.png \\",
            "from pathlib import Path",
        )
    },
    **{
        ("examples/poster/README.md", first_line): _MEDIA
        for first_line in (
            'make up ARGS="--engine handler:examples.poster.poster:Poster"',
            'curl -H "Authorization: $(cat .penstock/token)" -F photo=@photo.jpg -F colours=10 '
            "-F style=outlined -o poster.png \\",
        )
    },
    **{
        ("examples/video_to_frames/README.md", first_line): _MEDIA
        for first_line in (
            ".venv/bin/pip install -c constraints.txt -e '.[worker,video]'",
            'curl -H "Authorization: $(cat .penstock/token)" -F video=@film.mp4 -F every=25 \\',
        )
    },
    ("docs/command-line.md", "penstock jobs ls demo --state failed --since 1h"): (
        "tests/queue_service/web/jobs/test_list.py lists, shows and cancels"
    ),
    ("docs/command-line.md", "id=$(penstock files upload film.mp4)"): (
        "tests/deploy/commands/test_files_command.py does it with a file"
    ),
    ("docs/command-line.md", "id=$(penstock batch submit lines.jsonl)"): (
        "tests/deploy/commands/test_batch_command.py does it with a file"
    ),
    ("docs/command-line.md", "penstock map demo photos results"): (
        "tests/deploy/commands/test_map_folder.py does it with files"
    ),
    ("docs/several-machines.md", "docker swarm init"): "tests/containers/test_scaling.py does it",
    ("README.md", "# my_model.py"): "its model comes from a model hub",
    ("docs/large-files.md", "# my_model.py"): "it needs a storage with a file",
    ("deploy/README.md", "python -m deploy.demo.train"): (
        "it trains for a minute and writes the model of the repository"
    ),
    (
        "docs/your-model.md",
        "from penstock.worker import BadInput, Context, Retryable",
    ): "`load` stands for the reader's own code",
    ("docs/your-model.md", "class Embeddings:"): "`self.model` is the reader's own",
    (
        "docs/your-model.md",
        "PENSTOCK_WORKER_ENGINE=http PENSTOCK_WORKER_WORKER_THREADS=16 \\",
    ): "vLLM needs a GPU and a model",
    (
        "docs/your-model.md",
        "PENSTOCK_WORKER_ENGINE=http:http://127.0.0.1:8188 PENSTOCK_WORKER_WORKER_THREADS=1 \\",
    ): "ComfyUI needs a GPU and a model",
}


def test_every_block_is_run_or_named_with_the_reason() -> None:
    shown = {block.name for page in PAGES for block in blocks(page)}
    assert shown == RUN.keys() | NOT_RUN.keys()
    assert not RUN.keys() & NOT_RUN.keys()
    for test in RUN.values():
        path, _, name = test.partition("::")
        assert re.search(rf"^(async )?def {name}\(", (ROOT / path).read_text(), re.MULTILINE), test


def test_the_documents_name_no_token_that_nobody_has() -> None:
    for page in PAGES:
        assert not re.search(r"penstock-local|TOKEN=secret|\"secret\"", (ROOT / page).read_text())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path | None]:
    """The server that forks `penstock`, where a process can be forked."""
    if not forking.is_available():
        yield None
        return
    with command_server(tmp_path_factory.mktemp("server"), environment()) as path:
        yield path


@pytest.fixture(scope="module")
def local_mode(tmp_path_factory: pytest.TempPathFactory, server: Path | None) -> Iterator[Folder]:
    """A local mode with the echo engine, started as the README starts it."""
    folder = Folder(tmp_path_factory.mktemp("pasted"), server)
    first, _ = block("README.md", "make up").splitlines()
    with folder.started(first):
        yield folder


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """Return a folder in which each command is a new interpreter, as at a user."""
    return Folder(tmp_path)


@pytest.fixture
def quick_folder(tmp_path: Path, server: Path | None) -> Folder:
    return Folder(tmp_path, server)


def test_make_up_runs_what_replaces_it_here() -> None:
    # `make test` hands its own options and depth to every make below it.
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    shown = subprocess.run(
        ["make", "-n", "up", "ARGS=--workers 2"],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.splitlines()[-1].endswith("/bin/penstock up --workers 2")


(_FIRST_JOB,) = (name for name in RUN if name[0] == "README.md" and name[1].startswith("curl"))


def test_the_first_job_from_a_shell(local_mode: Folder) -> None:
    printed = local_mode.paste(block(*_FIRST_JOB))
    assert printed == "How long may a job run?"


def test_the_jobs_api_with_curl(local_mode: Folder) -> None:
    printed = local_mode.paste(block("docs/jobs.md", f"JOBS={_JOBS}"))
    statuses = re.findall(r"^(?:.*\})?HTTP/1.1 (\d+)", printed, re.MULTILINE)
    assert statuses == ["202", "202", "409", "204"]
    assert "What is a sink?" in printed
    assert "event: end" in printed


_JOBS = "http://127.0.0.1:8080/v1/services/demo/jobs"


def test_the_client_of_openai(local_mode: Folder) -> None:
    pytest.importorskip("openai")
    script = local_mode.path / "asks.py"
    text = block("docs/openai.md", "from pathlib import Path")
    script.write_text(text.replace("http://127.0.0.1:8080", local_mode.url()))
    assert local_mode.paste("python asks.py") == "What is a sink?"


def test_a_service_and_a_token_for_it(local_mode: Folder) -> None:
    printed = local_mode.paste(block("README.md", "penstock create service.json"))
    assert "pst_" in printed
    local_mode.paste("penstock delete sentiment --yes")


@pytest.mark.parametrize(
    "name",
    [name for name, test in RUN.items() if test.endswith("::test_a_worker_by_hand")],
    ids=lambda name: name[0],
)
def test_a_worker_by_hand(local_mode: Folder, name: tuple[str, str]) -> None:
    shown = block(*name)
    for address in ("http://queue:8080", "http://127.0.0.1:8080"):
        shown = shown.replace(address, local_mode.url())
    token = (local_mode.path / ".penstock" / "worker-token").read_text()
    (local_mode.path / "worker-token").write_text(token)
    with local_mode.started(shown, until="Connected"):
        pass


def test_the_commands_for_entries_and_results(local_mode: Folder) -> None:
    commands = block("docs/command-line.md", "penstock put demo 'What is a sink?' --wait")
    put, put_file, get, watch, create = commands.splitlines()
    assert local_mode.paste(put).startswith("What is a sink?")
    request_id = local_mode.paste(put_file).strip()
    assert local_mode.paste(get.replace("<request id>", request_id)) == "What is a sink?"
    # `put --wait` and `get` have removed their results, and the watch needs one.
    local_mode.paste(put_file)
    with local_mode.started(watch, until='"data"'):
        pass
    local_mode.paste(create)
    local_mode.paste("penstock delete sentiment --yes")


def test_the_commands_for_one_queue(local_mode: Folder) -> None:
    # A service without workers: its entries stay, and the numbers of the page exist.
    local_mode.paste("penstock create service.json; penstock scale sentiment 0")
    commands = block(
        "docs/command-line.md", "penstock queue put demo 'hello' --tag user=ann --priority 1"
    )
    first, get, watch, *rest = commands.replace("demo", "sentiment").splitlines()
    local_mode.paste(first)
    stored = json.loads((local_mode.path / ".penstock/services/sentiment.json").read_text())
    jobs = "\\n".join('{"input": "hello", "tags": {"user": "ann"}}' for _ in range(20))
    local_mode.paste(
        f"printf '{jobs}\\n' | curl -fsS -H 'Authorization: Bearer {stored['token']}' "
        "-H 'Content-Type: application/x-ndjson' --data-binary @- "
        "http://127.0.0.1:8080/v1/services/sentiment/jobs"
    )
    local_mode.paste("penstock queue put sentiment/sink answer --tag user=ann")
    assert "answer" in local_mode.paste(get)
    with local_mode.started(watch, until="answer"):
        pass
    # There is no terminal to ask on, so what removes for good gets --yes.
    told = re.sub(r"(truncate sentiment 20|--all|--force)", r"\1 --yes", "\n".join(rest))
    assert "OK" in local_mode.paste(told)
    local_mode.paste("penstock delete sentiment --yes")


@pytest.mark.parametrize(
    "name",
    [name for name, test in RUN.items() if test.endswith("::test_a_local_mode_with_a_handler")],
    ids=lambda name: name[0],
)
def test_a_local_mode_with_a_handler(folder: Folder, name: tuple[str, str]) -> None:
    with folder.started(block(*name).replace("penstock up", "penstock up --port 0")):
        assert json.loads(folder.paste("penstock run demo good")) == {"label": "good"}


def _request_id(printed: str) -> str:
    """Return what the put has printed, which the answer stands right behind."""
    return printed.partition('{"to"')[0]


def test_a_server_beside_the_worker(quick_folder: Folder) -> None:
    page = "examples/http_server/README.md"
    start = block(page, "export PENSTOCK_WORKER_ENGINE=http")
    with quick_folder.started(start.replace("8000", str(free_port()))):
        (ask,) = (name for name in RUN if name[0] == page and name[1].startswith("curl"))
        printed = quick_folder.paste(block(*ask))
    assert json.loads(printed.removeprefix(_request_id(printed))) == {"to": 2, "be": 2}


def test_a_pmml_model(quick_folder: Folder) -> None:
    pytest.importorskip("pypmml", reason="the extra `pmml` is not installed")
    page = "examples/pmml_model/README.md"
    with quick_folder.started(block(page, "make venv")):
        (ask,) = (name for name in RUN if name[0] == page and name[1].startswith("curl"))
        (result,) = re.findall(r"```json\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
        assert json.loads(quick_folder.paste(block(*ask))) == json.loads(result)
