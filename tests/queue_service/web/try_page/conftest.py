"""The browser of the chat page's tests, and a page that is open at a service."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from tests.conftest import StartService, StartWorker
from tests.queue_service.web.chat.conftest import (
    PATIENCE_S,
    SCREENSHOTS,
    launch,
    watched_context,
)
from tests.running import TOKEN, QueueServiceProcess
from tests.waiting import wait_until

HANDLERS = "handler:tests.queue_service.web.try_page.handlers"
OpenPage = Callable[..., Awaitable[Page]]


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright, launch(playwright) as browser:
        yield browser


@pytest.fixture
async def browser_elsewhere() -> AsyncIterator[Browser]:
    """A browser for which every name under `.example` is this machine."""
    rules = "--host-resolver-rules=MAP *.example 127.0.0.1"
    async with async_playwright() as playwright, launch(playwright, rules) as browser:
        yield browser


@pytest.fixture
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    async with watched_context(browser) as context:
        yield context


@pytest.fixture
async def keeping(start_service: StartService, tmp_path: Path) -> QueueServiceProcess:
    """Run a service that keeps files, and keeps results until they are deleted."""
    return await start_service(
        files_dir=str(tmp_path / "kept"), files_reserve_mb=0, result_retention_ms=3_600_000
    )


@pytest.fixture
def open_page(
    keeping: QueueServiceProcess,
    start_worker: StartWorker,
    context: BrowserContext,
) -> OpenPage:
    """Open the page of the service, whose worker runs one of the handlers."""

    async def is_declared() -> bool:
        request = context.request
        address = f"{keeping.url}/v1/services/svc/schema"
        return (await request.get(address, headers={"Authorization": TOKEN})).ok

    async def open_one(handler: str = "", *, declares: bool = True, **settings: Any) -> Page:
        if handler:
            await start_worker(keeping.url, engine=f"{HANDLERS}:{handler}", **settings)
            if declares:
                await wait_until(is_declared, "the worker has declared its inputs", 60)
        page = await context.new_page()
        await page.goto(f"{keeping.url}/try/svc#token={TOKEN}")
        await page.locator("#run").wait_for()
        return page

    return open_one


async def keep_picture(page: Page, name: str) -> None:
    """Keep what the whole page looks like now."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    await page.screenshot(path=SCREENSHOTS / f"try-{name}.png", full_page=True)


async def nothing_is_wide(page: Page) -> None:
    """Wait until nothing makes the page scroll sideways."""

    async def fits() -> bool:
        return bool(
            await page.evaluate(
                "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
            )
        )

    await wait_until(fits, "nothing is wider than the page")


async def is_over(page: Page, text: str = "Done.") -> None:
    """Wait until the page says so."""
    await page.locator("#status", has_text=text).wait_for(timeout=PATIENCE_S * 3000)


async def forget(page: Page) -> None:
    """Delete the job, as its user does."""
    await page.locator("#forget").click()
    await page.locator("#first").wait_for()
