"""Generation through everything: a POST to the input queue, a worker process, the sink."""

import json
import re
from pathlib import Path

import pytest

from client_sdk import AsyncQueueClient
from tests.conftest import StartService, StartWorker
from tests.inference_worker.transformers.conftest import TinyModel, body
from tests.inference_worker.transformers.test_generation import greedy, mix
from tests.running import TOKEN

#: Loading torch on a busy machine takes a while.
LOADING_S = 60.0

DOCUMENT = Path(__file__).parents[3] / "docs" / "models.md"

OPTIONS: dict[str, object] = {"torch_threads": 1, "device": "cpu", "max_tokens_in_batch": 8192}


@pytest.mark.timeout(120)
async def test_sixteen_jobs_are_answered_as_one_by_one(
    start_service: StartService, start_worker: StartWorker, llama: TinyModel
) -> None:
    service = await start_service()
    await start_worker(
        service.url,
        engine=f"transformers:{llama.folder}",
        engine_options={**OPTIONS, "max_batch": 4},
        worker_threads=16,
    )
    wanted = mix()
    async with AsyncQueueClient(service.url, "svc", token=TOKEN) as queue:
        receipts = [await queue.put(body(**fields)) for fields in wanted]
        for fields, receipt in zip(wanted, receipts, strict=True):
            (frame,) = await queue.sink.get(request_id=receipt.request_id, timeout_s=LOADING_S)
            expected = greedy(llama.model, fields["prompt"], fields["max_tokens"])  # type: ignore[arg-type]
            assert json.loads(frame.data)["token_ids"] == expected


@pytest.mark.timeout(120)
async def test_the_example_of_the_document_is_true(
    start_service: StartService, start_worker: StartWorker, demo_model: str
) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    (prompt,) = re.findall(r"put demo '(.*)' --wait", text)
    example = json.loads(text.partition("```json\n")[2].partition("```")[0])
    service = await start_service()
    await start_worker(service.url, engine=f"transformers:{demo_model}", engine_options=OPTIONS)
    async with AsyncQueueClient(service.url, "svc", token=TOKEN) as queue:
        receipt = await queue.put(prompt.encode())
        (frame,) = await queue.sink.get(request_id=receipt.request_id, timeout_s=LOADING_S)
    assert json.loads(frame.data) == example
