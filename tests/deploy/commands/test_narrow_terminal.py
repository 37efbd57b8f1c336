"""On a terminal of 80 columns everything fits, and what a user copies is in one line."""

import re
from pathlib import Path

import aiohttp
import pytest

from client_sdk import AsyncQueueClient
from client_sdk.wire.worker import Delivery, Rejection
from client_sdk.work import WorkConnection
from inference_worker.gpu_names import gpu_names
from tests.conftest import StartService
from tests.deploy.terminal import Terminal
from tests.running import ADMIN_TOKEN, TOKEN

COLUMNS = 80
UID = "gpu-host-with-a-long-name.internal.example.com-123456-deadbeef"
ENGINE = "transformers:some-organisation/A-Model-With-A-Rather-Long-Name-70B-Instruct"
GPU = "8 x NVIDIA H100 80GB HBM3"
REQUEST_ID = "0123456789abcdef-0123456789abcdef-0123456789abcdef-0123456789abcdef"
NAME = "a-service-with-a-long-name-indeed"
INFORMATION = "Model: \t\t NVIDIA H100 80GB HBM3\nIRQ:   \t\t 1\nGPU UUID: \t GPU-{}\n"


async def _shown(*words: str, url: str) -> str:
    """Return what a command shows, without escape sequences; check that it fits."""
    where = ("--url", url, "--admin-token", ADMIN_TOKEN)
    terminal = Terminal(*words, *where, token=TOKEN, columns=COLUMNS)
    try:
        assert await terminal.end() == 0, terminal.shown
    finally:
        terminal.close()
    shown = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.shown).replace("\r\n", "\n")
    assert max(len(line) for line in shown.splitlines()) <= COLUMNS, shown
    return shown


@pytest.mark.timeout(180)
async def test_everything_fits_and_no_id_is_broken(start_service: StartService) -> None:
    service = await start_service({"name": NAME, "max_delivery": 1, "dead_message_policy": "Park"})
    url = service.url
    async with (
        WorkConnection(
            *(url, NAME),
            token=TOKEN,
            window=5,
            uid=UID,
            version="1.2.3",
            engine=ENGINE,
            host="gpu-host",
            gpu=GPU,
        ) as worker,
        AsyncQueueClient(url, NAME, token=TOKEN) as client,
    ):
        await client.put("x", request_id=REQUEST_ID)
        delivery = await anext(worker)
        assert isinstance(delivery, Delivery)
        await worker.reject(Rejection(delivery.index, 1, "ValueError", "a long reason " * 20))
        await client.sink.get(timeout_s=60)
        for words in (("workers",), ("desc", NAME)):
            lines = (await _shown(*words, url=url)).splitlines()
            assert f"  {UID}" in lines
            text = " ".join(" ".join(lines).split())
            assert f"host gpu-host, GPU {GPU}, engine transformers:" in text
        assert {"fair: true", "retry: null"} <= set(lines), "desc, the last of the two"
        assert (await _shown("ls", url=url)).splitlines()[0] == NAME
        report = {"holder": "a", "lease_ms": 60_000, "existing": 2, "wanted": 4}
        reason = "37 jobs waiting (queue[avgbacklog] is 18.5, its threshold is 10)"
        async with aiohttp.ClientSession(headers={"Authorization": ADMIN_TOKEN}) as session:
            body = {**report, "reason": reason, "driver_error": "no space left " * 20}
            await session.put(f"{url}/v1/services/{NAME}/scale", json=body)
        text = " ".join((await _shown("ls", url=url)).split())
        assert "workers 1/4 (wanted 4: 37 waiting)" in text
        assert "the autoscaler cannot change the workers: no space left" in text
        assert reason in " ".join((await _shown("autoscale", NAME, url=url)).split())
        lines = (await _shown("dead", "ls", NAME, url=url)).splitlines()
        assert lines[0] == f"{delivery.index}  request {REQUEST_ID}"
    assert (await _shown("dead", "purge", NAME, "--all", "--yes", url=url)).strip() == "1"


def test_the_gpus_of_a_worker_are_named(tmp_path: Path) -> None:
    assert gpu_names(tmp_path / "none", "0") == ""
    for number in range(3):
        folder = tmp_path / f"0000:0{number}:00.0"
        folder.mkdir()
        (folder / "information").write_text(INFORMATION.format(f"{number}aa"))
    (tmp_path / "0000:02:00.0" / "information").write_text("Model: NVIDIA L4\n")
    assert gpu_names(tmp_path) == "2 x NVIDIA H100 80GB HBM3, NVIDIA L4"
    for visible, names in (
        ("0", "NVIDIA H100 80GB HBM3"),
        ("2,1", "NVIDIA L4, NVIDIA H100 80GB HBM3"),
        ("GPU-1", "NVIDIA H100 80GB HBM3"),
        ("", ""),
        ("-1", ""),
        ("7", ""),
    ):
        assert gpu_names(tmp_path, visible) == names, visible
