"""A server that has too much to do, and one whose engine has a process of its own."""

import email.utils
import time

import pytest

from client_sdk.wire.failures import FailureType
from inference_worker.engines.engine import Context, Failed, Finished, Job
from inference_worker.engines.load import EngineSpec
from inference_worker.logs import LogSettings
from inference_worker.process import EngineProcess
from tests.inference_worker.raw_server import RawServer, answer, says
from tests.inference_worker.test_upstream import Open, end_of, engine
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
