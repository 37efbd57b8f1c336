"""A server that has too much to do, and one whose engine has a process of its own."""

import asyncio

import pytest

from inference_worker.engines.engine import Context, Failed, Finished, Job
from inference_worker.engines.load import EngineSpec
from inference_worker.logs import LogSettings
from inference_worker.process import EngineProcess
from tests.inference_worker.raw_server import RawServer, answer, says
from tests.inference_worker.test_upstream import Open, end_of, engine, events_of, server
from tests.waiting import wait_until

__all__ = ["engine", "server"]  # fixtures


@pytest.mark.parametrize("status", [429, 503])
async def test_a_busy_server_is_left_alone_for_as_long_as_it_says(
    server: RawServer, engine: Open, status: int
) -> None:
    server.behave = says(answer(b"busy", status=status, Retry_After="1"))
    upstream = await engine()
    began = asyncio.get_running_loop().time()
    end = await end_of(upstream)
    assert isinstance(end, Failed)
    assert (end.code, end.data) == (str(status), b"busy")
    assert asyncio.get_running_loop().time() - began >= 1


async def test_the_last_attempt_waits_for_nothing(server: RawServer, engine: Open) -> None:
    server.behave = says(answer(b"busy", status=429, Retry_After="3600"))
    upstream = await engine()
    async with asyncio.timeout(5):
        end = (await events_of(upstream, Job("r", b"x", last_attempt=True)))[-1]
    assert isinstance(end, Failed)
    assert end.code == "429"


async def test_a_job_that_waits_for_a_busy_server_can_be_cancelled(
    server: RawServer, engine: Open
) -> None:
    server.behave = says(answer(b"busy", status=429, Retry_After="3600"))
    upstream = await engine(capacity=1)
    waiting = asyncio.create_task(end_of(upstream))
    await wait_until(lambda: server.received and not server.open_now, "it was told to wait")
    waiting.cancel()
    await asyncio.wait({waiting}, timeout=5)
    assert waiting.cancelled()


async def test_the_window_follows_the_server_through_the_engines_process(
    server: RawServer,
) -> None:
    upstream = EngineProcess(EngineSpec("http", {"url": server.url}, 3), logs=LogSettings())
    await upstream.start(Context())
    try:
        windows: list[int] = []
        upstream.changed = lambda: windows.append(upstream.capacity)
        await server.stop()
        end = [event async for event in upstream.run(Job("r", b"x"))][-1]
        assert isinstance(end, Failed)
        assert end.code == "Shutdown"
        await wait_until(lambda: windows == [0], "nothing is asked for any more")
        await server.start()
        await wait_until(lambda: windows == [0, 3], "it takes jobs again")
        end = [event async for event in upstream.run(Job("r", b"again"))][-1]
        assert end == Finished(b"again")
    finally:
        await upstream.stop(1.0)
