"""examples/http_server: started by `script` on a port, and asked through the queue."""

import json
import re
import shlex
import sys
from pathlib import Path

from client_sdk import AsyncQueueClient
from tests.conftest import StartService, StartWorker
from tests.running import TOKEN, free_port
from tests.waiting import wait_until

SERVER = Path(__file__).parents[2] / "examples" / "http_server" / "server.py"


async def test_the_server_of_the_example_counts_the_words_of_every_job(
    start_service: StartService, start_worker: StartWorker
) -> None:
    service = await start_service()
    options = {
        "script": f"exec {shlex.quote(sys.executable)} {shlex.quote(str(SERVER))}",
        "port": free_port(),
        "health_path": "/ready",
        "mode": "json",
        "path": "/words",
    }
    worker = await start_worker(
        service.url, engine="http", engine_options=options, worker_threads=4
    )
    async with AsyncQueueClient(service.url, "svc", token=TOKEN) as client:
        receipts = [
            await client.put(b"to be or " + b"not " * (n + 2), tags={"most": "1"})
            for n in range(10)
        ]
        for n, receipt in enumerate(receipts):
            (frame,) = await client.sink.get(request_id=receipt.request_id, timeout_s=60)
            assert json.loads(frame.data) == {"not": n + 2}
    assert "with a window of 4" in worker.log
    shown = r"\[server\] .* counting the words of job "
    await wait_until(lambda: len(re.findall(shown, worker.log)) == 10, "its lines are in the log")
