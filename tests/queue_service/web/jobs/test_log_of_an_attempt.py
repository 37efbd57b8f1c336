"""Following the log of one attempt passes over the lines of the others once."""

import asyncio
import json

import aiohttp
import pytest

from client_sdk.wire.delivery import Delivery
from client_sdk.wire.events import LOG, Event
from client_sdk.wire.job_log import LogLine, write_lines
from client_sdk.work import WorkConnection
from queue_service.web.jobs.logs import DROPPED
from tests.conftest import Serve
from tests.queue_service.web.jobs.api import JobsApi
from tests.running import TOKEN
from tests.waiting import let_pass

LINES = 40


@pytest.mark.leaves_entries
async def test_a_note_about_dropped_lines_comes_once(
    serve: Serve, session: aiohttp.ClientSession
) -> None:
    api = JobsApi(session, await serve({"name": "svc"}, max_log_bytes=4096))
    await api.call("PUT", "/job", data=b"x")
    async with WorkConnection(api.url, "svc", window=1, token=TOKEN) as work:
        delivery = await anext(work)
        assert isinstance(delivery, Delivery)

        async def report(first: int) -> None:
            for number in range(first, first + LINES):
                (data,) = write_lines([LogLine(1000, "stdout", "", f"{number} {'x' * 900}")])
                about = (delivery.index, delivery.attempt, delivery.request_id)
                work.send_event(Event(*about, number, LOG, data))
                await let_pass(0.02)

        await report(1)
        texts: list[str] = []

        async def follow() -> None:
            params = {"follow": "true", "attempt": "7"}
            async with session.get(f"{api.base}/job/logs", params=params) as answer:
                async for line in answer.content:
                    if line.startswith(b"data: "):
                        texts.append(json.loads(line[6:]).get("text"))

        following = asyncio.create_task(follow())
        await report(LINES + 1)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
    assert texts == [DROPPED]
