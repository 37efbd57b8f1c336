"""A headless Chromium and pages in it; what they looked like is kept under `build/screenshots`."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Literal

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, Playwright, async_playwright
from playwright.async_api import Error as PlaywrightError

from tests.running import TOKEN, QueueServiceProcess
from tests.waiting import wait_until

SCREENSHOTS = Path(__file__).parents[4] / "build" / "screenshots"
#: Seconds that the page may take for what it does at once, on a busy machine.
PATIENCE_S = 40.0


#: The event loop of these tests and of the browser that they share.
LOOP: Literal["package"] = "package"


@pytest_asyncio.fixture(loop_scope=LOOP)
async def _no_task_left() -> AsyncIterator[None]:
    """Fail a test that leaves a task, as elsewhere; those of the shared browser go on."""
    before = asyncio.all_tasks()
    yield

    def nothing_left() -> bool:
        left = [task for task in asyncio.all_tasks() - before if not task.done()]
        assert left == [asyncio.current_task()], left
        return True

    await wait_until(nothing_left, "no asyncio task is left", 8.0)


@pytest_asyncio.fixture(scope="package", loop_scope=LOOP)
async def playwright() -> AsyncIterator[Playwright]:
    """Run Playwright once: its start takes a second of the processor, and so does a browser."""
    async with async_playwright() as playwright:
        yield playwright


@pytest_asyncio.fixture(scope="package", loop_scope=LOOP)
async def shared_browser(playwright: Playwright) -> AsyncIterator[Browser]:
    async with launch(playwright) as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope=LOOP)
async def browser(shared_browser: Browser) -> AsyncIterator[Browser]:
    """A browser without a context: each is a user of its own, with its own storage."""
    before = shared_browser.contexts
    yield shared_browser
    for context in shared_browser.contexts:
        if context not in before:
            await context.close()


@pytest_asyncio.fixture(loop_scope=LOOP)
async def browser_elsewhere(playwright: Playwright) -> AsyncIterator[Browser]:
    """A browser for which every name under `.example` is this machine."""
    async with launch(playwright, "--host-resolver-rules=MAP *.example 127.0.0.1") as browser:
        yield browser


@asynccontextmanager
async def launch(playwright: Playwright, *more: str) -> AsyncIterator[Browser]:
    """Start Chromium; skip the test if there is none."""
    program = os.environ.get("PENSTOCK_TEST_CHROMIUM") or shutil.which("chromium")
    if program is None:
        pytest.skip("needs Chromium: `apt install chromium`, or PENSTOCK_TEST_CHROMIUM")
    browser = await playwright.chromium.launch(
        executable_path=program,
        # A container has no namespaces to give away; what is opened here is our own page.
        args=["--no-sandbox", "--disable-dev-shm-usage", *more],
    )
    yield browser
    await browser.close()


@pytest_asyncio.fixture(loop_scope=LOOP)
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    async with watched_context(browser) as context:
        yield context


@asynccontextmanager
async def watched_context(browser: Browser) -> AsyncIterator[BrowserContext]:
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
    for page in context.pages:
        await _until_idle(page)
    await context.close()
    assert wrong == []


async def _until_idle(page: Page) -> None:
    """Let a page delete the job of an answer that is about to end: a closed one leaves it."""
    idle = "() => document.querySelector('#stop')?.hidden ?? true"
    # Some tests leave an answer that does not end, or a page that is gone.
    with suppress(PlaywrightError):
        await page.wait_for_function(idle, timeout=5000)


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
