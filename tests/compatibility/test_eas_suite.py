"""The test file inside Alibaba's own Python SDK, unedited, passes against `penstock up`."""

import asyncio
from pathlib import Path

import pytest

from tests.running import TOKEN, ServerProcess, free_port

RUNNER = Path(__file__).with_name("run_eas_suite.py")

#: Tests in that file; a run of fewer would prove less than it says.
TESTS = 9

#: Seconds the file may take, on a busy machine too; most of it is 4000 puts one after another.
SUITE_S = 400.0

#: What its two tests with an inference service want of each answer: exactly two keys.
ANSWER = r'{"answer": "[{\"a\": 1, \"b\": 2}]"}'


@pytest.fixture
def local_mode(tmp_path: Path, processes: list[ServerProcess]) -> ServerProcess:
    """Return `penstock up` with one worker, not yet started."""
    port = free_port()
    options = {
        "--service": "svc",
        "--token": TOKEN,
        "--port": str(port),
        "--data": str(tmp_path / "data"),
        "--engine": "echo",
        "--engine-options": ANSWER,
    }
    words = [word for option in options.items() for word in option]
    url = f"http://127.0.0.1:{port}"
    penstock = ServerProcess(
        ["-m", "deploy.cli", "up", *words],
        env={},
        log_path=tmp_path / "penstock.log",
        ready_url=f"{url}/readyz",
    )
    processes.append(penstock)
    return penstock


@pytest.mark.timeout(SUITE_S + 60)
async def test_the_test_file_of_the_eas_sdk_passes_unedited(
    eas_python: Path, local_mode: ServerProcess
) -> None:
    await local_mode.start()
    suite = await asyncio.create_subprocess_exec(
        *(eas_python, RUNNER, local_mode.ready_url.removesuffix("/readyz"), "svc", TOKEN),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(suite.communicate(), SUITE_S)
    finally:
        if suite.returncode is None:
            suite.kill()
            await suite.wait()
    said = output.decode(errors="replace")
    assert suite.returncode == 0, f"{said}\n--- penstock up:\n{local_mode.log}"
    assert f"Ran {TESTS} tests" in said
