"""`penstock dead`: dead letters are listed, read, edited, replayed and purged."""

import asyncio
import json
from pathlib import Path

from typer.testing import CliRunner, Result

from client_sdk import AsyncQueueClient
from client_sdk.wire.worker import Completion, Delivery, Rejection
from client_sdk.wire.worker import Result as Output
from client_sdk.work import WorkConnection
from deploy.admin import AdminApi
from deploy.cli import app
from deploy.errors import AdminRefused, NoAnswer, NotConfirmed
from tests.conftest import StartService
from tests.running import ADMIN_TOKEN, TOKEN, QueueServiceProcess, free_port


async def _penstock(*arguments: str, url: str, answer: str = "") -> Result:
    """Run the command in a thread: it has an event loop of its own."""
    where = ["--url", url, "--admin-token", ADMIN_TOKEN]
    command = ["dead", *arguments, *where]
    return await asyncio.to_thread(lambda: CliRunner().invoke(app, command, input=answer))


async def _die(
    service: QueueServiceProcess, worker: WorkConnection, data: bytes, name: str = "svc"
) -> int:
    async with AsyncQueueClient(service.url, name, token=TOKEN) as client:
        receipt = await client.put(data, tags={"colour": "red"})
        delivery = await anext(worker)
        assert isinstance(delivery, Delivery)
        await worker.reject(Rejection(delivery.index, 1, "KeyError", "KeyError: 'x'"))
        assert (await client.sink.get(timeout_s=60))[0].data == b"KeyError: 'x'"
    return receipt.index


async def test_a_dead_letter_is_read_edited_and_replayed(
    start_service: StartService, tmp_path: Path
) -> None:
    service = await start_service({"name": "svc", "max_delivery": 1, "dead_message_policy": "Park"})
    async with WorkConnection(service.url, "svc", token=TOKEN, window=1) as worker:
        first = await _die(service, worker, b"bad")
        second = await _die(service, worker, b"worse")

        listed = json.loads((await _penstock("ls", "svc", "--json", url=service.url)).stdout)
        assert [letter["id"] for letter in listed] == [first, second]
        assert (
            "KeyError"
            in (await _penstock("ls", "svc", "--code", "KeyError", url=service.url)).stdout
        )
        shown = (await _penstock("show", "svc", str(first), url=service.url)).stdout
        assert shown.endswith("bad")
        assert "colour=red" in shown
        assert (
            await _penstock("show", "svc", str(first), "--raw", url=service.url)
        ).stdout == "bad"

        file = tmp_path / "mended"
        file.write_bytes(b"\xff good")
        mended = await _penstock(
            *("edit", "svc", str(first), "--file", str(file), "--tag", "a=b", "--untag", "colour"),
            url=service.url,
        )
        assert mended.exit_code == 0, mended.stderr
        replayed = await _penstock("replay", "svc", str(first), url=service.url)
        assert replayed.stdout.split()[:2] == [str(first), str(second + 1)]
        delivery = await anext(worker)
        assert isinstance(delivery, Delivery)
        assert delivery.data == b"\xff good"
        assert (delivery.tags["a"], "colour" in delivery.tags) == ("b", False)
        await worker.complete(Completion(delivery.index, 1, Output(b"done")))

        again = await _penstock("replay", "svc", str(first), url=service.url)
        assert (again.exit_code, "no such dead letter" in again.stderr) == (3, True)
        refused = await _penstock("purge", "svc", "--all", url=service.url, answer="n\n")
        assert refused.exit_code == 1
        purged = await _penstock("purge", "svc", "--all", "--yes", url=service.url)
        assert (purged.exit_code, purged.stdout) == (0, "1\n")
        assert (await _penstock("purge", "svc", "--all", "--yes", url=service.url)).exit_code == 3
    async with AsyncQueueClient(service.url, "svc", token=TOKEN) as client:
        assert (await client.sink.get())[0].data == b"done"


async def test_what_cannot_be_done_is_reported_with_its_exit_code(
    start_service: StartService,
) -> None:
    service = await start_service()
    gone = await _penstock("show", "svc", "7", url=service.url)
    assert isinstance(gone.exception, AdminRefused)
    assert "there is no dead letter 7" in str(gone.exception)
    for wrong in (["replay", "svc"], ["purge", "svc", "1", "--all"], ["edit", "svc", "1"]):
        assert (await _penstock(*wrong, url=service.url)).exit_code == 2
    nobody = await _penstock("ls", "svc", url=f"http://127.0.0.1:{free_port()}")
    assert isinstance(nobody.exception, NoAnswer)


async def test_an_empty_list_says_what_is_kept_and_a_deletion_what_goes(
    start_service: StartService,
) -> None:
    service = await start_service()
    empty = await _penstock("ls", "svc", url=service.url)
    assert empty.exit_code == 0
    assert "svc keeps only jobs that crash engines (dead_message_policy: Rear)" in empty.stderr
    wish = {"token": TOKEN, "max_delivery": 1, "dead_message_policy": "Park"}
    await AdminApi(service.url, ADMIN_TOKEN).ask_async("PUT", "/v1/services/parked", wish)
    assert (await _penstock("ls", "parked", url=service.url)).stderr == ""
    async with WorkConnection(service.url, "parked", token=TOKEN, window=1) as worker:
        await _die(service, worker, b"bad", "parked")
    command = ["delete", "parked", "--url", service.url, "--admin-token", ADMIN_TOKEN]
    held = "0 entries, 0 results and 1 dead letters"
    # Standard input is a pipe, so there is no person to ask.
    asked = await asyncio.to_thread(lambda: CliRunner().invoke(app, command, input="y\n"))
    assert isinstance(asked.exception, NotConfirmed)
    assert str(asked.exception).startswith(f"delete parked with {held}: expected --yes")
    command.append("--yes")
    gone = await asyncio.to_thread(lambda: CliRunner().invoke(app, command))
    assert f"parked is deleted, with {held}" in gone.stdout
