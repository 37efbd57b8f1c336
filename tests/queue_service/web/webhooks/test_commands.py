"""`penstock webhooks`, and `penstock dead replay --webhook`."""

import asyncio
import json

from typer.testing import CliRunner, Result

from deploy.cli import app
from tests.queue_service.web.webhooks.conftest import Hooks, Receiver, verify
from tests.running import ADMIN_TOKEN


async def penstock(*arguments: str, url: str) -> Result:
    """Run the command in a thread: it has an event loop of its own."""
    command = [*arguments, "--url", url, "--admin-token", ADMIN_TOKEN]
    return await asyncio.to_thread(lambda: CliRunner().invoke(app, command))


async def test_endpoints_are_set_up_shown_and_deleted(hooks: Hooks, receiver: Receiver) -> None:
    url = receiver.url()
    made = await penstock("webhooks", "put", "svc", "mine", url, "--json", url=hooks.url)
    secret = json.loads(made.stdout)["secret"]
    rotated = await penstock("webhooks", "rotate", "svc", "mine", "--json", url=hooks.url)
    await hooks.end("job-1")
    (came,) = await receiver.wait("/hook")
    verify(came, secret)
    verify(came, json.loads(rotated.stdout)["secret"])
    await hooks.delivered("mine")
    listed = await penstock("webhooks", "ls", "svc", url=hooks.url)
    assert "mine" in listed.stdout
    shown = await penstock("webhooks", "deliveries", "svc", "mine", url=hooks.url)
    assert "job.canceled of job-1" in shown.stdout
    assert (await penstock("webhooks", "rm", "svc", "mine", "--yes", url=hooks.url)).exit_code == 0
    assert (await hooks.ask("GET", "/mine"))[0] == 404


async def test_what_failed_for_good_is_replayed(hooks: Hooks, receiver: Receiver) -> None:
    receiver.answers("/hook", 500)
    secret = await hooks.put("mine", receiver.url())
    await hooks.end("job-1")
    (came, *_) = await receiver.wait("/hook")
    await hooks.ask("PUT", "/mine", json={"url": receiver.url(), "enabled": False})
    (failed,) = await hooks.wait_for("mine", "failed")
    assert "disabled" in failed["error"]
    refused = await penstock("dead", "replay", "svc", "--webhook", "mine", url=hooks.url)
    assert refused.exit_code == 1
    receiver.answers("/hook", 200)
    await hooks.ask("PUT", "/mine", json={"url": receiver.url()})
    done = await penstock("dead", "replay", "svc", "--webhook", "mine", url=hooks.url)
    assert done.exit_code == 0
    (delivery,) = await hooks.delivered("mine")
    assert delivery["webhook_id"] == came.id
    verify(receiver.at("/hook")[-1], secret)
    nothing = await penstock("webhooks", "redeliver", "svc", "mine", url=hooks.url)
    assert nothing.exit_code == 3
