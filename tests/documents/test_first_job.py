"""The first job of the README, in Python, does what it says."""

import asyncio
import re
import sys
from pathlib import Path

from tests.conftest import StartWorker
from tests.running import TOKEN, QueueServiceProcess

README = Path(__file__).parents[2] / "README.md"


async def test_the_first_job_from_python_prints_its_result(
    service: QueueServiceProcess, start_worker: StartWorker, tmp_path: Path
) -> None:
    await start_worker(service.url)
    (tmp_path / ".penstock").mkdir()
    (tmp_path / ".penstock" / "token").write_text(f"{TOKEN}\n")
    (example, *_) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    script = example.replace("http://127.0.0.1:8080", service.url).replace('"demo"', '"svc"')
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", script),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert output.decode() == "How long may a job run?\n"
    assert process.returncode == 0
