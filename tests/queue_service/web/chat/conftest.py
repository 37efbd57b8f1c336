"""A headless Chromium and pages in it; what they looked like is kept under `build/screenshots`."""

import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from tests.running import TOKEN, QueueServiceProcess

SCREENSHOTS = Path(__file__).parents[4] / "build" / "screenshots"
#: Seconds that the page may take for what it does at once, on a busy machine.
PATIENCE_S = 20.0


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with launch() as browser:
        yield browser


@pytest.fixture
async def browser_elsewhere() -> AsyncIterator[Browser]:
    """A browser for which every name under `.example` is this machine."""
    async with launch("--host-resolver-rules=MAP *.example 127.0.0.1") as browser:
        yield browser


@asynccontextmanager
async def launch(*more: str) -> AsyncIterator[Browser]:
    """Start Chromium; skip the test if there is none."""
    program = os.environ.get("PENSTOCK_TEST_CHROMIUM") or shutil.which("chromium")
    if program is None:
        pytest.skip("needs Chromium: `apt install chromium`, or PENSTOCK_TEST_CHROMIUM")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=program,
            # A container has no namespaces to give away; what is opened here is our own page.
            args=["--no-sandbox", "--disable-dev-shm-usage", *more],
        )
        yield browser
        await browser.close()


@pytest.fixture
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    """One user's browser; a console error or an uncaught exception in any tab fails the test."""
    context = await browser.new_context(viewport={"width": 900, "height": 640})
    context.set_default_timeout(PATIENCE_S * 1000)
    wrong: list[str] = []
    context.on("weberror", lambda error: wrong.append(str(error.error)))
    context.on(
        "console",
        lambda said: wrong.append(said.text) if "Content Security Policy" in said.text else None,
    )
    yield context
    await context.close()
    assert wrong == []


OpenChat = Callable[[QueueServiceProcess], Awaitable[Page]]


@pytest.fixture
def open_chat(context: BrowserContext) -> OpenChat:
    async def open_page(service: QueueServiceProcess) -> Page:
        page = await context.new_page()
        await page.goto(f"{service.url}/chat#token={TOKEN}")
        await page.locator("#question").wait_for()
        return page

    return open_page


async def keep_picture(page: Page, name: str) -> None:
    """Keep what the page looks like now."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    await page.screenshot(path=SCREENSHOTS / f"{name}.png")
