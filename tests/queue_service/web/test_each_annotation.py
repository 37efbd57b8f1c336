"""The service refuses what no handler of an annotation could read: 422, with the path."""

import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.conftest import Serve
from tests.inference_worker.engines.annotations import ROWS, handler_of
from tests.inference_worker.written_handlers import load
from tests.queue_service.web.test_declared_inputs import worker
from tests.running import TOKEN

pytestmark = pytest.mark.leaves_entries


async def test_each_annotation_of_a_handler(serve: Serve, tmp_path: Path) -> None:
    handler = await load(tmp_path, "handler", "predict", handler_of(ROWS))
    interface = json.loads(handler.engine.interface)
    await handler.engine.stop(1.0)
    url = await serve({"name": "svc"})
    jobs = f"{url}/v1/services/svc/jobs"
    answers: list[tuple[int, Any]] = []
    expected: list[tuple[int, Any]] = []
    async with (
        worker(url, interface),
        aiohttp.ClientSession(headers={"Authorization": TOKEN}) as session,
    ):
        for number, row in enumerate(ROWS):
            for value, is_accepted in ((row.valid, True), (row.invalid, row.is_left)):
                async with session.post(jobs, json={f"x{number}": value}) as answer:
                    said = await answer.json()
                answers.append((answer.status, said.get("errors")))
                path, _, detail = row.error.partition(": ")
                error = {"path": f"/x{number}{path}", "detail": detail}
                expected.append((202, None) if is_accepted else (422, [error]))
    assert answers == expected
