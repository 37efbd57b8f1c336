"""A hundred clients, eight places: which wait, which get text, which leave, and what they leave."""

import asyncio
import random
import re

import aiohttp
import openai
import pytest

from deploy.demo.faq import read_faq
from tests.conftest import StartService, StartWorker
from tests.queue_service.web.openai.test_demo_model import MODEL, OPTIONS
from tests.running import ADMIN_TOKEN, TOKEN, QueueServiceProcess
from tests.waiting import wait_until

CLIENTS, WORKERS, WINDOW = 100, 2, 4
LEAVING = 30


async def _metric(service: QueueServiceProcess, name: str, queue: str = "input") -> float:
    """The value of a metric of a queue, as operators read it."""
    async with (
        aiohttp.ClientSession(headers={"Authorization": ADMIN_TOKEN}) as session,
        session.get(f"{service.url}/metrics") as answer,
    ):
        text = await answer.text()
    pattern = rf'^{name}{{[^}}]*queue="{queue}"[^}}]*}} (\S+)$'
    return sum(float(value) for value in re.findall(pattern, text, re.MULTILINE))


class _Asker:
    """One client, as a browser would ask: by plain HTTP, so that the comments are seen too.

    patience: how much text it reads before it leaves in the middle; None stays to the end.
    """

    def __init__(self, url: str, question: str, patience: int | None) -> None:
        self.positions: list[int] = []
        self._url = url
        self._question = question
        self._patience = patience

    async def ask(self) -> str:
        body = {
            "model": "svc",
            "messages": [{"role": "user", "content": self._question}],
            "stream": True,
        }
        headers, text = {"Authorization": f"Bearer {TOKEN}"}, ""
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.post(f"{self._url}/v1/chat/completions", json=body) as answer,
        ):
            assert answer.status == 200, await answer.text()
            async for line in answer.content:
                text += self._read(line)
                if text and self._patience is not None and len(text) > self._patience:
                    return ""
        return text

    def _read(self, line: bytes) -> str:
        if found := re.match(rb": queued, position (\d+)", line):
            self.positions.append(int(found[1]))
        if not line.startswith(b"data: {"):
            return ""
        chunk = openai.types.chat.ChatCompletionChunk.model_validate_json(line[6:])
        return (chunk.choices[0].delta.content or "") if chunk.choices else ""


@pytest.mark.timeout(240)
async def test_a_hundred_clients_share_eight_places_and_one_that_leaves_frees_its(
    start_service: StartService, start_worker: StartWorker
) -> None:
    pytest.importorskip("transformers", reason="needs the extra `transformers`")
    service = await start_service()
    pairs = (read_faq() * CLIENTS)[:CLIENTS]
    chance = random.Random(8)
    askers = [
        _Asker(service.url, pair.question, chance.randint(0, 20) if number < LEAVING else None)
        for number, pair in enumerate(pairs)
    ]
    asking = [asyncio.create_task(asker.ask()) for asker in askers]

    async def all_wait() -> bool:
        return await _metric(service, "penstock_queue_length") == CLIENTS

    await wait_until(all_wait, "everybody is in line", 60)
    for _ in range(WORKERS):
        await start_worker(
            service.url,
            engine=f"transformers:{MODEL}",
            engine_options={**OPTIONS, "max_tokens_in_batch": 4096},
            worker_threads=WINDOW,
        )
    most = 0.0
    while not all(task.done() for task in asking):
        most = max(most, await _metric(service, "penstock_queue_held"))
        await asyncio.wait(asking, timeout=0.05)
    assert 1 <= most <= WORKERS * WINDOW
    for asker, task, pair in zip(askers, asking, pairs, strict=True):
        assert task.result() in ("", pair.answer)
        assert asker.positions == sorted(asker.positions, reverse=True), "nobody falls back"
    assert sum(bool(task.result()) for task in asking) == CLIENTS - LEAVING

    async def nothing_is_left() -> bool:
        stored = [await _metric(service, "penstock_queue_length", q) for q in ("input", "sink")]
        return stored == [0, 0]

    await wait_until(nothing_is_left, "clients that left have left nothing behind")
