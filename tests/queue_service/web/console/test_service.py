"""The pages of a service, its jobs, its dead letters and its webhooks, used as a person does."""

from pathlib import Path
from typing import Any

import aiohttp
import pytest
from playwright.async_api import Page, expect

from client_sdk.wire.load import Load
from tests.conftest import StartService, StartWorker
from tests.queue_service.web.chat.conftest import PATIENCE_S
from tests.queue_service.web.console.conftest import HANDLERS, OpenConsole, go, looks_right
from tests.queue_service.web.console.silent_worker import silent_worker
from tests.running import TOKEN
from tests.waiting import wait_until

pytestmark = [pytest.mark.timeout(300), pytest.mark.leaves_entries]
expect.set_options(timeout=PATIENCE_S * 1000)

#: Ids, tags, errors and results are those of other people.
HOSTILE = "<img src=x onerror=alert(1)>"
PARK = {"dead_message_policy": "Park", "max_delivery": 1}


async def put(url: str, job: str, body: object, *, service: str = "svc") -> None:
    headers = {"Authorization": TOKEN}
    path = f"{url}/v1/services/{service}/jobs/{job}"
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.put(path, json=body) as answer,
    ):
        assert answer.status in (200, 202), await answer.text()


async def confirm(page: Page, verb: str) -> None:
    """Answer a question with yes."""
    await page.get_by_role("dialog").get_by_role("button", name=verb, exact=True).click()
    await expect(page.get_by_role("dialog")).to_have_count(0)


async def test_a_service_shows_its_workers_and_is_paused_by_keyboard(
    start_service: StartService, open_console: OpenConsole
) -> None:
    service = await start_service()
    gib = 2**30
    healthy = Load(
        running=1,
        limit=1,
        memory_bytes=9 * gib,
        gpu_memory_bytes=61 * gib,
        gpu_memory_total_bytes=80 * gib,
        gpu_utilization=0.93,
        state="ready",
        gpu_state="healthy",
    )
    sick = Load(limit=1, state="resting", gpu_state="quarantined", gpu_reason=f"Xid 79 {HOSTILE}")
    gpu: dict[str, Any] = {"token": TOKEN, "gpu": "NVIDIA H100"}
    async with (
        silent_worker(service.url, "svc", "first", healthy, **gpu),
        silent_worker(service.url, "svc", "second", sick, window=0, **gpu),
    ):
        for number in range(3):
            await put(service.url, f"job-{number}", "x")
        page = await open_console(service.url, "#/services/svc")
        row = page.get_by_role("row", name="first")
        await expect(row).to_contain_text("61 GiB of 80 GiB")
        await expect(row).to_contain_text("93 % busy")
        row = page.get_by_role("row", name="second")
        await expect(row).to_contain_text("Quarantined")
        await expect(row).to_contain_text(HOSTILE)
        assert await page.locator("#page img").count() == 0, "nothing of it is HTML"
        await looks_right(page, "service")
        await page.get_by_role("button", name="Day").click()
        await expect(page.get_by_role("heading", name="Jobs per 15 minutes")).to_be_visible()
        await page.get_by_role("button", name="Pause").focus()
        await page.keyboard.press("Enter")
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("button", name="Pause", exact=True)).to_be_visible()
        await page.get_by_role("button", name="Pause").focus()
        await page.keyboard.press("Enter")
        await page.get_by_role("dialog").get_by_role("button", name="Pause").focus()
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("button", name="Resume")).to_be_visible()
        await expect(page.get_by_text("Paused", exact=True)).to_be_visible()
        await page.get_by_role("button", name="Resume").click()
        await expect(page.get_by_role("button", name="Pause")).to_be_visible()
        await page.close()


async def test_a_job_shows_its_history_its_artifacts_and_its_result(
    start_service: StartService,
    start_worker: StartWorker,
    open_console: OpenConsole,
    tmp_path: Path,
) -> None:
    service = await start_service(
        files_dir=str(tmp_path / "kept"), files_reserve_mb=0, result_retention_ms=3_600_000
    )
    await start_worker(service.url, engine=f"{HANDLERS}:Draw")
    await put(service.url, "drawing", {"prompt": HOSTILE})
    page = await open_console(service.url, "#/services/svc/jobs")
    link = page.get_by_role("link", name="drawing")
    await link.click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("drawing")
    await expect(page.locator(".top .badge")).to_have_text("Succeeded")
    await expect(page.locator(".timeline")).to_contain_text("Attempt 1 started")
    await expect(page.locator(".artifacts")).to_contain_text(f"A sketch of {HOSTILE}")
    await expect(page.locator(".log")).to_contain_text(f"draws {HOSTILE}")
    await page.get_by_role("button", name="Show the result").click()
    picture = page.locator("figure img")
    await expect(picture).to_be_visible()
    assert await picture.evaluate("node => node.naturalWidth") == 96
    await looks_right(page, "job")
    # An operator who looks is not the client that waits.
    await expect(page.get_by_text("Result read", exact=True)).to_have_count(0)
    await page.close()


async def test_a_failed_job_is_edited_and_replayed_and_a_waiting_one_canceled(
    start_service: StartService, start_worker: StartWorker, open_console: OpenConsole
) -> None:
    service = await start_service({"name": "svc", **PARK}, {"name": "idle"})
    await start_worker(service.url, engine=f"{HANDLERS}:fail")
    await put(service.url, "bad", HOSTILE)
    page = await open_console(service.url, "#/services/svc/jobs/bad")
    await expect(page.locator(".top .badge")).to_have_text("Failed")
    await expect(page.locator(".note pre")).to_contain_text(f'no model for "{HOSTILE}"')
    await expect(page.locator(".log")).to_contain_text("Traceback")
    await looks_right(page, "failed-job")
    await page.get_by_role("link", name="Jobs").last.click()
    await page.get_by_label("State").select_option("failed")
    await expect(page.get_by_role("row", name="bad")).to_contain_text(f'no model for "{HOSTILE}"')
    await page.get_by_role("link", name="Dead letters").click()
    await expect(page.get_by_role("row", name="bad")).to_contain_text(HOSTILE)
    await looks_right(page, "dead-letters")
    await page.get_by_role("link", name="bad").click()
    box = page.get_by_label("You can change it")
    await expect(box).to_have_value(f'"{HOSTILE}"')
    await looks_right(page, "dead-letter")
    await box.fill("something else")
    await page.get_by_role("button", name="Save the input").click()
    await expect(page.get_by_text("Saved.")).to_be_visible()
    await page.get_by_role("button", name="Replay").click()
    await expect(page.locator(".note pre")).to_contain_text("no model for something else")
    # The same from the page of the job.
    async with page.expect_response("**/replay"):
        await page.get_by_role("button", name="Retry").click()

    async def is_dead_again() -> bool:
        await go(page, "#/")
        await go(page, "#/services/svc/dead")
        return await page.get_by_label("Select bad").count() == 1

    await wait_until(is_dead_again, "the replayed job has failed again")
    await page.get_by_label("Select bad").check()
    await page.get_by_role("button", name="Delete 1 letter").click()
    await confirm(page, "Delete")
    await expect(page.get_by_text("1 letter deleted.")).to_be_visible()
    await expect(page.get_by_role("heading", name="No dead letters")).to_be_visible()

    for name in ("one", "two", "three"):
        await put(service.url, name, "x", service="idle")
    await go(page, "#/services/idle/jobs/one")
    await expect(page.locator(".top .badge")).to_have_text("Queued")
    await page.get_by_role("button", name="Cancel the job").click()
    await confirm(page, "Cancel the job")
    await expect(page.locator(".top .badge")).to_have_text("Canceled")
    await go(page, "#/services/idle/jobs")
    await looks_right(page, "jobs")
    for name in ("two", "three"):
        await page.get_by_label(f"Select {name}").check()
    await page.get_by_role("button", name="Cancel 2 jobs").click()
    await confirm(page, "Cancel them")
    await page.get_by_label("State").select_option("canceled")
    for name in ("one", "two", "three"):
        await expect(page.get_by_role("link", name=name)).to_be_visible()
    await page.close()


async def test_a_webhook_is_added_changed_and_deleted(
    start_service: StartService, start_worker: StartWorker, open_console: OpenConsole
) -> None:
    service = await start_service(webhook_networks="127.0.0.0/8")
    page = await open_console(service.url, "#/services/svc/webhooks")
    await expect(page.get_by_role("heading", name="No webhooks")).to_be_visible()
    await page.get_by_label("Name").fill("billing")
    await page.get_by_label("URL").fill("ftp://nowhere")
    await page.get_by_role("button", name="Add the webhook").click()
    await expect(page.locator(".error:visible")).to_contain_text("Expected")
    await expect(page.get_by_label("URL")).to_be_focused()
    await page.get_by_label("URL").fill("http://127.0.0.1:9/hook")
    await page.get_by_role("button", name="Add the webhook").click()
    secret = page.get_by_role("dialog").get_by_label("Secret", exact=True)
    assert (await secret.input_value()).startswith("whsec_")
    await page.get_by_role("dialog").get_by_role("button", name="Close").click()
    await start_worker(service.url, engine=f"{HANDLERS}:write")
    await put(service.url, "reported", "x")
    await page.get_by_role("link", name="billing").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("billing")

    async def is_listed() -> bool:
        await page.get_by_role("button", name="Refresh").click()
        return await page.get_by_role("link", name="reported").count() == 1

    await wait_until(is_listed, "the delivery is listed")
    await looks_right(page, "webhook")
    await page.get_by_label("Send messages").uncheck()
    await page.get_by_role("button", name="Save the webhook").click()
    await expect(page.get_by_text("disabled by an operator")).to_be_visible()
    await page.get_by_role("button", name="Delete").click()
    await confirm(page, "Delete")
    await expect(page.get_by_role("heading", name="No webhooks")).to_be_visible()
    await page.close()
