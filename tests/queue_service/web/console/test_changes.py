"""Services that are created, changed, scaled, stopped and deleted in the console; tokens."""

import pytest
from playwright.async_api import Page, expect

from tests.conftest import StartService
from tests.queue_service.web.chat.conftest import PATIENCE_S
from tests.queue_service.web.console.conftest import OpenConsole, go, looks_right
from tests.queue_service.web.console.test_service import confirm

pytestmark = pytest.mark.timeout(300)
expect.set_options(timeout=PATIENCE_S * 1000)


async def token_of_dialog(page: Page, label: str) -> str:
    """Return a secret that is shown once, and close the dialog."""
    text = await page.get_by_role("dialog").get_by_label(label, exact=True).input_value()
    await page.get_by_role("dialog").get_by_role("button", name="Close").click()
    return text


async def _create(page: Page) -> None:
    await page.get_by_role("link", name="Create a service").click()
    await looks_right(page, "create")
    await page.get_by_label("Name", exact=True).fill("pictures")
    await page.get_by_label("Time windows").fill("sometimes")
    await page.get_by_role("button", name="Create the service").click()
    await expect(page.locator(".error:visible")).to_contain_text("sometimes")
    await expect(page.get_by_label("Time windows")).to_be_focused()
    await page.get_by_label("Time windows").fill("")
    await page.get_by_label("Maximum results kept").fill("500")
    await page.get_by_role("button", name="Create the service").click()
    token = await token_of_dialog(page, "Token for clients")
    assert token
    await expect(page.get_by_role("heading", level=1)).to_have_text("pictures")
    await expect(page.get_by_text("0 of 500")).to_be_visible()


async def _change_settings(page: Page) -> None:
    await page.get_by_role("link", name="Settings").click()
    await expect(page.get_by_label("Maximum results kept")).to_have_value("500")
    await page.get_by_label("Maximum results kept").fill("700")
    await page.get_by_label("Maximum deliveries per job").fill("-1")
    await page.get_by_role("button", name="Save the settings").click()
    await expect(page.get_by_label("Maximum deliveries per job")).to_be_focused()
    await page.get_by_label("Maximum deliveries per job").fill("3")
    await page.get_by_role("button", name="Save the settings").click()
    await expect(page.get_by_text("Saved. Jobs and workers are not affected.")).to_be_visible()
    await looks_right(page, "settings")


async def _set_an_autoscaler(page: Page) -> None:
    await page.get_by_role("link", name="Scaling").click()
    await page.get_by_label("Minimum workers").fill("5")
    await page.get_by_label("Maximum workers").fill("2")
    await page.get_by_role("button", name="Set the autoscaler").click()
    await expect(page.locator(".error:visible, .note.wrong")).to_contain_text("at most max")
    await page.get_by_label("Minimum workers").fill("0")
    await page.get_by_label("Seconds until it shrinks").fill("60")
    await page.get_by_role("button", name="Set the autoscaler").click()
    await expect(page.get_by_role("button", name="Remove the autoscaler")).to_be_visible()
    await expect(page.get_by_label("Seconds until it shrinks")).to_have_value("60")
    await looks_right(page, "scaling")

    # Other settings keep the autoscaler, which has its own page.
    await page.get_by_role("link", name="Settings").click()
    await page.get_by_role("button", name="Save the settings").click()
    await expect(page.get_by_text("Saved. Jobs and workers are not affected.")).to_be_visible()
    await page.get_by_role("link", name="Scaling").click()
    await page.get_by_role("button", name="Remove the autoscaler").click()
    await confirm(page, "Remove")
    await expect(page.get_by_role("button", name="Set the autoscaler")).to_be_visible()


async def _delete_by_keyboard(page: Page) -> None:
    await page.get_by_role("link", name="Settings").focus()
    await page.keyboard.press("Enter")
    await page.get_by_role("button", name="Delete the service").focus()
    await page.keyboard.press("Enter")
    verb = page.get_by_role("dialog").get_by_role("button", name="Delete", exact=True)
    await expect(verb).to_be_disabled()
    await page.keyboard.type("pictures")
    await expect(verb).to_be_enabled()
    await page.keyboard.press("Enter")


async def test_a_service_is_created_changed_scaled_stopped_and_deleted(
    start_service: StartService, open_console: OpenConsole
) -> None:
    service = await start_service()
    page = await open_console(service.url)
    await _create(page)
    await _change_settings(page)
    await _set_an_autoscaler(page)
    await page.get_by_role("link", name="Summary").click()
    await expect(page.get_by_text("0 of 700")).to_be_visible()
    await page.get_by_role("button", name="Stop", exact=True).click()
    await confirm(page, "Stop")
    await expect(page.get_by_text("Stopped", exact=True)).to_be_visible()
    await page.get_by_role("button", name="Start", exact=True).click()
    await expect(page.get_by_role("button", name="Stop", exact=True)).to_be_visible()

    await _delete_by_keyboard(page)
    await expect(page.get_by_role("heading", level=1)).to_have_text("Services")
    await expect(page.get_by_role("row", name="svc")).to_be_visible()
    await expect(page.get_by_role("row", name="pictures")).to_have_count(0)
    await page.close()


async def test_a_token_is_made_opens_less_and_is_revoked(
    start_service: StartService, open_console: OpenConsole
) -> None:
    service = await start_service({"name": "mine"}, {"name": "theirs"})
    page = await open_console(service.url, "#/tokens")
    await expect(page.get_by_role("heading", name="No tokens")).to_be_visible()
    await page.get_by_label("Name").fill("a reader")
    await page.get_by_label("Services").fill("mine")
    await page.get_by_role("button", name="Create the token").click()
    token = await token_of_dialog(page, "Token")
    await expect(page.get_by_role("row", name="a reader")).to_contain_text("read, submit")
    await looks_right(page, "tokens")

    reduced = await open_console(service.url, token=token)
    await expect(reduced.get_by_role("row", name="theirs")).to_have_count(0)
    await reduced.get_by_role("link", name="mine").click()
    await expect(reduced.get_by_text("Only the service's own token")).to_be_visible()
    for name in ("Dead letters", "Settings", "Webhooks", "Tokens"):
        await expect(reduced.get_by_role("link", name=name)).to_have_count(0)
    await reduced.get_by_role("link", name="Jobs").click()
    await expect(reduced.get_by_role("heading", name="No jobs yet")).to_be_visible()
    await go(reduced, "#/services/theirs")
    await expect(reduced.get_by_role("heading", name="Nothing is here")).to_be_visible()

    await page.get_by_role("button", name="Revoke a reader").click()
    await confirm(page, "Revoke")
    await expect(page.get_by_role("heading", name="No tokens")).to_be_visible()
    # Its page signs out when the stream says so.
    await expect(reduced.locator("#notice")).to_contain_text("This token is not valid.")
    await expect(reduced.get_by_label("Token")).to_be_visible()
    await reduced.close()
    await page.close()
