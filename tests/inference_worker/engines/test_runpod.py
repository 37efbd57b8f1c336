"""Handlers as RunPod's users write them: errors, streams, helpers, and one job at a time."""

import base64
import functools
import io
import logging
import os
import tempfile
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from client_sdk.wire.worker import Delivery
from inference_worker.engines.engine import Failed, Job, Progress
from inference_worker.engines.runpod_sdk import has_gpu
from tests.conftest import StartWorker
from tests.inference_worker.peer import Peer
from tests.inference_worker.written_handlers import Written, load
from tests.waiting import wait_until

RunPod = Callable[..., Awaitable[Written]]

TEXT = "data:text/plain,hello%20there"


@pytest.fixture
async def runpod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[RunPod]:
    # Where handlers leave their files.
    monkeypatch.chdir(tmp_path)
    started: list[Written] = []

    async def start(source: str, name: str = "") -> Written:
        written = await load(tmp_path, "runpod", name, source)
        started.append(written)
        return written

    yield start
    for written in started:
        await written.engine.stop(1.0)


def failed(end: object) -> tuple[str, str, bool]:
    assert isinstance(end, Failed), end
    return end.code, end.message, end.retryable


GENERATORS = """
    import functools
    import runpod

    def pieces(job):
        yield "a"
        yield {"error": "no more"} if job["input"].get("fail") else "b"
        yield "c"

    async def async_pieces(job):
        for piece in pieces(job):
            yield piece

    def decorated(function):
        @functools.wraps(function)
        def wrapper(job):
            return function(job)
        return wrapper

    hidden = decorated(async_pieces)

    class Handler:
        async def __call__(self, job):
            for piece in pieces(job):
                yield piece

    instance = Handler()
    partly = functools.partial(lambda prefix, job: async_pieces(job), "x")

    async def returns(job):
        return {"error": "no more"} if job["input"].get("fail") else "abc"

    def start(handler):
        runpod.serverless.start({"handler": handler, "return_aggregate_stream": True})
"""


@pytest.mark.parametrize("name", ["pieces", "async_pieces", "hidden", "instance", "partly"])
async def test_a_yielded_error_fails_the_job(runpod: RunPod, name: str) -> None:
    handler = await runpod(f"{GENERATORS}\n    start({name})\n")
    assert await handler.ask(x=1) == b"abc"
    assert handler.pieces == [b"a", b"b", b"c"]
    assert failed(await handler.ask(fail=True)) == ("HandlerError", "no more", False)
    assert handler.pieces == [b"a"]


async def test_a_returned_error_fails_the_job_and_an_empty_one_does_not(runpod: RunPod) -> None:
    handler = await runpod(GENERATORS, "returns")
    assert await handler.ask(x=1) == b"abc"
    assert failed(await handler.ask(fail=True)) == ("HandlerError", "no more", False)
    empty = await runpod(
        """
        def handler(job):
            return {"error": None, "refresh_worker": False, "answer": job["input"]["x"]}
        """
    )
    assert await empty.ask(x=1) == {"answer": 1}


async def test_jobs_run_one_at_a_time_unless_a_modifier_says_more(runpod: RunPod) -> None:
    assert (await runpod(GENERATORS, "pieces")).engine.capacity == 1
    more = await runpod(
        """
        import runpod

        async def handler(job):
            return job["input"]

        if True:
            runpod.serverless.start(
                {"handler": handler, "concurrency_modifier": lambda now: min(now + 1, 4)}
            )
        """
    )
    assert more.engine.capacity == 4
    assert await more.ask(x=1) == {"x": 1}


async def test_a_guarded_start_leaves_the_handler_to_be_found(runpod: RunPod) -> None:
    handler = await runpod(
        """
        import runpod

        @runpod.serverless.register_fitness_check
        def check():
            global checked
            checked = True

        @runpod.serverless.register_fitness_check
        async def check_later():
            assert checked

        def handler(job):
            return {"checked": checked, "id": job["id"]}

        if __name__ == "__main__":
            runpod.serverless.start({"handler": handler})
        """
    )
    assert await handler.ask() == {"checked": True, "id": "job-1"}


async def test_inputs_are_validated_as_runpod_does(runpod: RunPod) -> None:
    handler = await runpod(
        """
        from runpod.serverless.utils.rp_validator import validate

        SCHEMA = {
            "prompt": {"type": str, "required": True},
            "steps": {"type": int, "required": False, "default": 20,
                      "constraints": lambda steps: 0 < steps < 500},
            "scale": {"type": float, "required": False, "default": 7.5},
            "seed": {"type": int, "required": False, "default": None},
        }

        def handler(job):
            checked = validate(job["input"], SCHEMA)
            return checked if "errors" not in checked else {"error": checked["errors"]}
        """
    )
    assert await handler.ask(prompt="a cat", scale=2) == {
        "validated_input": {"prompt": "a cat", "steps": 20, "scale": 2.0, "seed": None}
    }
    for inputs, sentence in (
        ({}, "prompt is a required input."),
        ({"prompt": 1}, "prompt should be <class 'str'> type, not <class 'int'>."),
        ({"prompt": "a", "steps": 0}, "steps does not meet the constraints."),
        ({"prompt": "a", "colour": 1}, "Unexpected input. colour is not a valid input option."),
    ):
        assert sentence in failed(await handler.ask(**inputs))[1]


def zipped() -> str:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("inside.txt", "packed")
    return "data:application/zip;base64," + base64.b64encode(packed.getvalue()).decode()


async def test_downloads_are_data_urls_and_uploads_become_some(runpod: RunPod) -> None:
    handler = await runpod(
        """
        import pathlib
        from runpod.serverless.utils import download_files_from_urls, rp_cleanup, rp_download
        from runpod.serverless.utils import rp_upload, upload_file_to_bucket

        def handler(job):
            url = job["input"]["url"]
            if job["input"].get("one"):
                found = rp_download.file(url)
                return pathlib.Path(found["extracted_path"], "inside.txt").read_text()
            [path] = download_files_from_urls(job["id"], [url])
            pathlib.Path("job_files").mkdir()
            made = pathlib.Path("job_files/out.png")
            made.write_text(pathlib.Path(path).read_text())
            urls = [
                rp_upload.upload_image(job["id"], str(made)),
                upload_file_to_bucket("out.png", str(made)),
            ]
            rp_cleanup.clean()
            return {"urls": urls, "path": path, "left": made.exists()}
        """
    )
    answer = await handler.ask(url=TEXT)
    image = "data:image/png;base64," + base64.b64encode(b"hello there").decode()
    assert answer["urls"] == [image, image]
    assert answer["left"] is False
    assert answer["path"].endswith(".txt")
    # Its folder went with the job.
    assert answer["path"].split("/")[-2] not in os.listdir(tempfile.gettempdir())
    assert await handler.ask(url=zipped(), one=True) == b"packed"
    for address in ("http://169.254.169.254/", "file:///etc/hostname", "/etc/hostname"):
        for one in (True, False):
            code, _, retryable = failed(await handler.ask(url=address, one=one))
            assert (code, retryable) == ("BadInput", False)


async def test_logs_and_progress_reach_the_worker(
    runpod: RunPod, caplog: pytest.LogCaptureFixture
) -> None:
    handler = await runpod(
        """
        import runpod
        from runpod import RunPodLogger
        from runpod.serverless.modules.rp_logger import RunPodLogger as Same

        log = RunPodLogger()
        assert log is Same() is runpod.RunPodLogger()

        def handler(job):
            log.warn("careful", job["id"])
            log.set_level("ERROR")
            log.info("not shown")
            log.set_level("DEBUG")
            for number in range(2):
                runpod.serverless.progress_update(job, f"Update {number + 1}/4")
            runpod.serverless.progress_update(job, 75)
        """
    )
    with caplog.at_level(logging.INFO):
        events = [event async for event in handler.engine.run(Job("job-1", b'{"input": {}}'))]
    assert [event for event in events if isinstance(event, Progress)] == [
        Progress(0.25, "Update 1/4"),
        Progress(0.5, "Update 2/4"),
        Progress(0.75, ""),
    ]
    assert ("runpod", logging.WARNING, "job-1 | careful") in caplog.record_tuples
    assert "not shown" not in caplog.text


async def test_a_handler_that_asks_for_it_gets_a_new_process(
    start_worker: StartWorker, peer: Peer, tmp_path: Path
) -> None:
    file = tmp_path / "refreshing.py"
    file.write_text(
        "import os\n"
        "def handler(job):\n"
        "    return {'pid': os.getpid(), 'refresh_worker': job['input']['again']}\n"
    )
    await start_worker(peer.url, engine=f"runpod:{file}")
    await wait_until(lambda: peer.connected, "the worker is connected")
    for index, again in enumerate((b"false", b"true", b"false"), 1):
        data = b'{"input": {"again": %s}}' % again
        await peer.deliver(Delivery(index, 1, f"r-{index}", data, max_delivery=3))
        answered = functools.partial(lambda count: len(peer.completions) == count, index)
        await wait_until(answered, "it is answered")
        if again == b"true":
            await wait_until(lambda: peer.windows[-1:] == [1], "the new one is ready")
    pids = [answer.result.data for answer in peer.completions if answer.result is not None]
    assert len(pids) == 3
    assert pids[0] == pids[1] != pids[2]


async def test_what_handlers_ask_of_the_machine_is_there(runpod: RunPod) -> None:
    handler = await runpod(
        """
        import runpod
        from runpod.serverless.modules.rp_fitness import register_fitness_check
        from runpod.serverless.utils import rp_cuda

        checked = []

        @register_fitness_check
        def check():
            checked.append(True)

        def handler(job):
            return {"gpu": rp_cuda.is_available(), "checked": checked}

        runpod.serverless.start({"handler": handler})
        """
    )
    assert await handler.ask() == {"gpu": has_gpu(), "checked": [True]}
