"""examples/pmml_model: the flowers, asked through the queue."""

import json
from pathlib import Path

import pytest

from client_sdk import AsyncQueueClient
from tests.conftest import StartService, StartWorker
from tests.running import TOKEN

pytest.importorskip("pypmml", reason="the extra `pmml` is not installed")

MODEL = Path(__file__).parents[2] / "examples" / "pmml_model" / "flowers.pmml"


async def test_the_model_of_the_example_tells_the_flowers_apart(
    start_service: StartService, start_worker: StartWorker
) -> None:
    service = await start_service()
    worker = await start_worker(service.url, engine=f"pmml:{MODEL}")
    async with AsyncQueueClient(service.url, "svc", token=TOKEN) as client:
        receipt = await client.put(
            b'[{"petal_length": 1.4, "petal_width": 0.2}, {"petal_length": 5, "petal_width": 1.5}]'
        )
        (frame,) = await client.sink.get(request_id=receipt.request_id, timeout_s=60)
        bad = await client.put(b"a rose")
        (refused,) = await client.sink.get(request_id=bad.request_id, timeout_s=60)
    assert json.loads(frame.data) == [
        {"flower": "setosa", "p_setosa": 1.0, "p_versicolor": 0.0, "p_virginica": 0.0},
        {"flower": "versicolor", "p_setosa": 0.0, "p_versicolor": 0.9, "p_virginica": 0.1},
    ]
    assert (refused.tags["lastCode"], refused.tags["errorCode"]) == ("400", "BadInput")
    assert "WARNING: " not in worker.log
