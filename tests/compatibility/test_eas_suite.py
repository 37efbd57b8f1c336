"""The test file inside Alibaba's own Python SDK, unedited, passes against the queue service."""

import asyncio
from pathlib import Path

import pytest

from tests.conftest import StartWorker
from tests.running import TOKEN, QueueServiceProcess

RUNNER = Path(__file__).with_name("run_eas_suite.py")

#: Tests in that file; a run of fewer would prove less than it says.
TESTS = 9

#: Seconds the file may take; half of it is 4000 puts one after another.
SUITE_S = 150.0


@pytest.mark.timeout(SUITE_S + 30)
async def test_the_test_file_of_the_eas_sdk_passes_unedited(
    eas_python: Path, service: QueueServiceProcess, start_worker: StartWorker
) -> None:
    await start_worker(service.url, engine_options={"answer": '[{"a": 1, "b": 2}]'})
    suite = await asyncio.create_subprocess_exec(
        *(eas_python, RUNNER, service.url, "svc", TOKEN),
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
    assert suite.returncode == 0, f"{said}\n--- queue service:\n{service.log}"
    assert f"Ran {TESTS} tests" in said
