"""A browser in which the console is open, and what every page must keep to."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from tests.queue_service.web.chat.conftest import SCREENSHOTS, launch, watched_context
from tests.running import ADMIN_TOKEN
from tests.waiting import wait_until

HANDLERS = "handler:tests.queue_service.web.console.handlers"
#: Where `axe.min.js` of the npm package axe-core may be.
AXE = (
    Path(os.environ.get("PENSTOCK_TEST_AXE") or "none"),
    Path("node_modules/axe-core/axe.min.js"),
)
#: The widths of a desktop, a tablet and a phone.
WIDTHS = (1200, 768, 390)
OpenConsole = Callable[..., Awaitable[Page]]


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
def open_console(context: BrowserContext) -> OpenConsole:
    """Open a page of the console, signed in."""

    async def open_one(url: str, address: str = "#/", *, token: str = ADMIN_TOKEN) -> Page:
        page = await context.new_page()
        await page.goto(f"{url}/#token={token}")
        await page.locator("#page h1").wait_for()
        await go(page, address)
        return page

    return open_one


async def go(page: Page, address: str) -> None:
    """Open a page of the console, as a link does."""
    await page.evaluate("address => { location.hash = address; }", address)
    await page.locator("#page h1, #page .empty").first.wait_for()


async def looks_right(page: Page, name: str) -> None:
    """Keep pictures of the page in three widths and both themes, and check each."""
    for scheme in ("light", "dark"):
        await page.emulate_media(color_scheme=scheme)
        for width in WIDTHS:
            await page.set_viewport_size({"width": width, "height": 800})
            await _nothing_is_wide(page)
            SCREENSHOTS.mkdir(parents=True, exist_ok=True)
            path = SCREENSHOTS / f"console-{name}-{scheme}-{width}.png"
            await page.screenshot(path=path, full_page=True)
            assert await _violations(page) == [], (scheme, width)
    await page.emulate_media(color_scheme="light")
    await page.set_viewport_size({"width": 1200, "height": 800})


async def _nothing_is_wide(page: Page) -> None:
    async def fits() -> bool:
        return bool(
            await page.evaluate(
                "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
            )
        )

    await wait_until(fits, "nothing is wider than the page")


#: What must hold without axe: one heading of the first level, a name for each control and link, a
#: caption for each table, no id twice.
_CHECKS = """() => {
  const wrong = [], visible = (node) => node.checkVisibility();
  const headings = [...document.querySelectorAll("h1")].filter(visible);
  if (headings.length !== 1) wrong.push(`${headings.length} headings h1`);
  for (const node of document.querySelectorAll("button, a, input, select, textarea")) {
    if (!visible(node)) continue;
    const named = node.textContent.trim() || node.getAttribute("aria-label")
      || [...(node.labels ?? [])].some((label) => label.textContent.trim());
    if (!named) wrong.push(`without a name: ${node.outerHTML.slice(0, 120)}`);
  }
  for (const table of document.querySelectorAll("table"))
    if (!table.caption?.textContent) wrong.push("a table without a caption");
  const ids = [...document.querySelectorAll("[id]")].map((node) => node.id);
  if (new Set(ids).size !== ids.length) wrong.push("an id twice");
  return wrong;
}"""


async def _violations(page: Page) -> list[str]:
    """Return what is wrong for people with a keyboard or a screen reader."""
    wrong: list[str] = await page.evaluate(_CHECKS)
    for axe in AXE:
        if axe.is_file():
            # Not as a script of the page, whose policy allows only its own.
            await page.evaluate(axe.read_text())
            wrong += await page.evaluate(
                "axe.run().then(found => found.violations.map(one => "
                "`${one.id}: ${one.nodes.map(node => node.html).join(' ').slice(0, 300)}`))"
            )
            break
    return wrong
