"""A server that has too much to do, and one whose engine has a process of its own."""

import asyncio
import email.utils
import time

import pytest

from client_sdk.wire.failures import FailureType
from client_sdk.wire.worker import Delivery
from inference_worker.engines.engine import Context, Failed, Finished, Job
from inference_worker.engines.load import EngineSpec
from inference_worker.logs import LogSettings
from inference_worker.process import EngineProcess
from tests.inference_worker.conftest import StartInProcess
from tests.inference_worker.engines.test_upstream import Open, end_of, engine
from tests.inference_worker.peer import Peer
from tests.inference_worker.raw_server import RawServer, Received, answer, says
from tests.waiting import wait_until

__all__ = ["engine"]  # a fixture


@pytest.mark.parametrize("status", [429, 503])
async def test_a_busy_server_says_how_long_the_job_pauses_and_is_spared_its_place(
    server: RawServer, engine: Open, status: int
) -> None:
    server.behave = says(answer(b"busy", status=status, Retry_After="7"))
    end = await end_of(await engine())
    assert isinstance(end, Failed)
    assert (end.code, end.data, end.kind) == (str(status), b"busy", FailureType.TRANSIENT)
    assert (end.after_s, end.cooldown_s) == (7.0, 7.0)


async def test_a_busy_server_is_spared_for_half_a_minute_at_most(
    server: RawServer, engine: Open
) -> None:
    server.behave = says(answer(b"busy", status=429, Retry_After="3600"))
    end = await end_of(await engine())
    assert isinstance(end, Failed)
    assert (end.after_s, end.cooldown_s) == (3600.0, 30.0)


async def test_a_server_may_say_when_in_place_of_how_long(server: RawServer, engine: Open) -> None:
    moment = email.utils.formatdate(time.time() + 90, usegmt=True)
    server.behave = says(answer(b"busy", status=503, Retry_After=moment))
    end = await end_of(await engine())
    assert isinstance(end, Failed)
    assert end.after_s is not None
    assert 0 < end.after_s <= 91


async def test_an_error_that_is_no_sign_of_load_spares_no_place(
    server: RawServer, engine: Open
) -> None:
    server.behave = says(answer(b"oops", status=500, Retry_After="7"))
    end = await end_of(await engine())
    assert isinstance(end, Failed)
    assert (end.after_s, end.cooldown_s) == (7.0, 0.0)


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


async def test_jobs_that_meet_an_overload_wait_longer_each_time_and_disturb_no_other(
    server: RawServer, peer: Peer, start: StartInProcess
) -> None:
    async def busy_but_for_one(request: Received, writer: asyncio.StreamWriter) -> None:
        if request.body == b"long":
            await asyncio.Event().wait()
        writer.write(answer(b"busy", status=int(request.body)))

    server.behave = busy_but_for_one
    worker = await start("http", url=server.url, capacity=8, sick_after=3)
    await peer.deliver(Delivery(1, 1, "long", b"long"))
    await wait_until(lambda: server.open_now == 1, "a job runs")
    for index in range(2, 8):
        status = b"429" if index % 2 else b"503"
        await peer.deliver(Delivery(index, index - 1, f"r-{index}", status, max_delivery=9))
    await wait_until(lambda: len(peer.rejections) == 6, "all others have met the overload")
    assert worker.count("rests_total") == 0
    assert server.open_now == 1, "the job that runs was not interrupted"
    pauses_ms = [one.pause_ms for one in sorted(peer.rejections, key=lambda one: one.index)]
    assert all(1000 * 2**n <= ms <= 1200 * 2**n for n, ms in enumerate(pauses_ms)), pauses_ms


async def test_a_server_that_cannot_serve_is_asked_whether_it_is_ill(
    server: RawServer, engine: Open
) -> None:
    is_ill = asyncio.Event()

    async def behave(request: Received, writer: asyncio.StreamWriter) -> None:
        is_health = request.path == "/health"
        writer.write(answer(b"", status=503 if is_ill.is_set() or not is_health else 200))

    server.behave = behave
    upstream = await engine(health_path="/health", capacity=2)
    before = len(server.received)
    assert isinstance(await end_of(upstream), Failed)
    await wait_until(lambda: len(server.received) == before + 2, "its health was asked for")
    assert upstream.capacity == 2, "it is busy and well"
    is_ill.set()
    assert isinstance(await end_of(upstream), Failed)
    await wait_until(lambda: upstream.capacity == 0, "it gets no jobs")
    is_ill.clear()
    await wait_until(lambda: upstream.capacity == 2, "it gets jobs again")
