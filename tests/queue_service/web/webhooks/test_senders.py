"""Several processes send, some are killed, names change their address, services are deleted."""

import asyncio
import contextlib
import socket
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.conftest import Serve, StartService
from tests.leaks import find_leaks
from tests.queue_service.web.webhooks.conftest import LOCAL, SCALE, Came, Hooks, Receiver, verify
from tests.running import ADMIN_TOKEN
from tests.waiting import wait_until


async def test_a_process_that_is_killed_before_it_notes_the_answer_leaves_the_message_to_another(
    start_service: StartService, session: aiohttp.ClientSession, receiver: Receiver
) -> None:
    settings: dict[str, Any] = {
        "webhook_networks": LOCAL,
        "webhook_schedule_scale": SCALE,
        "webhook_timeout_s": 1.0,
    }
    first = await start_service(**settings)
    hooks = Hooks(session, first.url)
    never = asyncio.Event()

    async def hold(_: Came) -> web.StreamResponse:
        first.kill()
        never.set()
        return web.Response()

    receiver.behaviours["/hook"] = hold
    secret = await hooks.put("mine", receiver.url())
    # The end is stored before the process dies; its answer may not arrive.
    with contextlib.suppress(aiohttp.ClientError):
        await hooks.end("job-1")
    await never.wait()
    receiver.answers("/hook", 200)
    second = await start_service(**settings)
    again = Hooks(session, second.url)
    came = await receiver.wait("/hook", 2, timeout_s=60.0)
    assert len({one.id for one in came}) == 1
    verify(came[-1], secret)
    (delivery,) = await again.delivered("mine")
    assert delivery["attempts"] >= 2


async def test_several_replicas_send_each_message_once(
    serve: Serve, session: aiohttp.ClientSession, receiver: Receiver
) -> None:
    settings: dict[str, Any] = {"webhook_networks": LOCAL, "webhook_timeout_s": 10.0}
    urls = [await serve(**settings) for _ in range(3)]
    replicas = [Hooks(session, url) for url in urls]
    await replicas[0].put("mine", receiver.url())

    async def known() -> bool:
        # A replica that does not know the endpoint yet stores an end without it.
        found = [await one.ask("GET", "/mine") for one in replicas]
        return all(status == 200 for status, _ in found)

    await wait_until(known, "every replica knows the endpoint")
    for number in range(30):
        await replicas[number % 3].end(f"job-{number}")
    await receiver.wait("/hook", 30)
    assert len(await replicas[1].delivered("mine", 30)) == 30
    assert sorted({one.job for one in receiver.came}) == sorted(f"job-{n}" for n in range(30))
    assert len(receiver.came) == 30


async def test_a_name_that_becomes_an_inner_address_gets_nothing(
    serve: Serve,
    session: aiohttp.ClientSession,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = ["93.184.216.34"]
    real = socket.getaddrinfo

    def names(host: Any, port: Any, *args: Any, **more: Any) -> Any:
        if host != "hooks.example.com":
            return real(host, port, *args, **more)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answers[0], port))]

    monkeypatch.setattr(socket, "getaddrinfo", names)
    hooks = Hooks(session, await serve())
    url = f"https://hooks.example.com:{receiver.port}/hook"
    await hooks.put("mine", url)
    answers[0] = "127.0.0.1"
    await hooks.end("job-1")

    async def refused() -> bool:
        (one,) = await hooks.deliveries("mine", "pending")
        return "which is 127.0.0.1" in one.get("error", "")

    await wait_until(refused, "the attempt was refused")
    assert not receiver.came
    assert (await hooks.ask("DELETE", "/mine"))[0] == 204


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/hook",
        "https://127.1/hook",
        "https://2130706433/hook",
        "https://0x7f000001/hook",
        "https://[::1]/hook",
        "https://[::ffff:127.0.0.1]/hook",
        "https://169.254.169.254/latest",
        "https://localhost/hook",
        "http://93.184.216.34/hook",
    ],
)
async def test_inner_addresses_are_refused_in_every_spelling(
    serve: Serve, session: aiohttp.ClientSession, url: str
) -> None:
    hooks = Hooks(session, await serve())
    status, problem = await hooks.ask("PUT", "/mine", json={"url": url})
    assert status == 400, problem
    assert "url: expected" in problem
    await hooks.ask("PUT", "/jobs", json={})
    status, problem = await hooks.jobs("POST", data=b"x", params={"webhook": url})
    assert status == 400, problem
    assert (await hooks.ask("DELETE", "/jobs"))[0] == 204


async def test_a_deleted_service_leaves_no_delivery(
    serve: Serve,
    session: aiohttp.ClientSession,
    receiver: Receiver,
    redis_url: str,
    key_prefix: str,
) -> None:
    receiver.answers("/hook", 500)
    url = await serve(webhook_networks=LOCAL)
    headers = {"Authorization": ADMIN_TOKEN}
    service = f"{url}/v1/services/gone"
    async with session.put(service, headers=headers, json={"token": "a-test-token"}) as made:
        assert made.status == 201
    hooks = Hooks(session, url, "gone")
    await hooks.put("mine", receiver.url())
    await hooks.end("job-1")
    await receiver.wait("/hook")
    async with session.delete(service, headers=headers) as deleted:
        assert deleted.status == 200
    await wait_until(
        lambda: not find_leaks(redis_url, key_prefix), "nothing is left of the service"
    )
    async with session.put(service, headers=headers, json={"token": "a-test-token"}) as made:
        assert made.status == 201
    assert (await hooks.ask("GET"))[1] == {"webhooks": []}
    async with session.delete(service, headers=headers) as deleted:
        assert deleted.status == 200
