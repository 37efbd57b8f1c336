"""A position in the queue, an answer that grows, a stop, a reload, two tabs: as a user sees it."""

import aiohttp
import pytest
from playwright.async_api import Browser, Page, expect

from tests.conftest import StartService, StartWorker
from tests.queue_service.web.chat.conftest import LOOP, PATIENCE_S, OpenChat, keep_picture
from tests.running import ADMIN_TOKEN, TOKEN, QueueServiceProcess
from tests.waiting import wait_until

WORDS = "handler:tests.queue_service.web.openai.handlers:Words"
LONG = "slow " + " ".join(f"word{number}" for number in range(60))

pytestmark = [pytest.mark.timeout(120), pytest.mark.asyncio(loop_scope=LOOP)]

expect.set_options(timeout=PATIENCE_S * 1000)


async def _ask(page: Page, text: str) -> None:
    await page.locator("#question").fill(text)
    await page.keyboard.press("Enter")


async def _answer(page: Page) -> str:
    return await page.locator("#turns li.assistant > .text").last.inner_text()


async def _nothing_is_left(service: QueueServiceProcess) -> None:
    """Wait until the page has removed what its user has read."""

    async def is_empty() -> bool:
        return await _left(service) == 0

    await wait_until(is_empty, "answers that were read take no place")


async def _left(service: QueueServiceProcess) -> int:
    async with (
        aiohttp.ClientSession(headers={"Authorization": ADMIN_TOKEN}) as session,
        session.get(f"{service.url}/v1/services/svc") as answer,
    ):
        described = await answer.json()
        return int(described["input"]["length"]) + int(described["sink"]["length"])


async def test_two_tabs_wait_and_their_answers_grow(
    start_service: StartService, start_worker: StartWorker, open_chat: OpenChat
) -> None:
    service = await start_service()
    first, second = await open_chat(service), await open_chat(service)
    await _ask(first, LONG)
    await expect(first.locator("#status")).to_have_text("Waiting, you are next.")
    await _ask(second, "slow another one")
    await expect(second.locator("#status")).to_have_text("Waiting, 1 ahead of you.")
    await expect(second.locator("li.assistant .place")).to_have_text("Waiting, 1 ahead of you.")
    await keep_picture(second, "waiting")

    await start_worker(service.url, engine=WORDS, worker_threads=1)
    lengths: set[int] = set()

    async def is_complete() -> bool:
        lengths.add(len(await _answer(first)))
        return await _answer(first) == LONG

    await wait_until(is_complete, "the whole answer is there", 60)
    assert len(lengths) > 5, "it grew before the user's eyes"
    await expect(second.locator("#turns li.assistant > .text")).to_have_text("slow another one")
    await expect(first.locator("#status")).to_have_text("The answer is complete.")
    await keep_picture(first, "complete")
    assert await first.locator("#turns > li").count() == 2
    await _nothing_is_left(service)


async def test_an_answer_is_stopped_and_the_next_one_follows(
    start_service: StartService, start_worker: StartWorker, open_chat: OpenChat
) -> None:
    service = await start_service()
    await start_worker(service.url, engine=WORDS, worker_threads=1)
    page = await open_chat(service)
    await _ask(page, LONG)
    await expect(page.locator("#turns li.assistant")).to_contain_text("word3")
    await keep_picture(page, "growing")
    await page.get_by_role("button", name="Stop").click()
    await expect(page.locator("#turns li.assistant")).to_contain_text("Stopped")
    assert "word59" not in await _answer(page)
    await _ask(page, "and now")
    await expect(page.locator("#turns li.assistant > .text").last).to_have_text("and now")
    await _nothing_is_left(service)


async def test_a_reload_finds_the_answer_going_on(
    start_service: StartService, start_worker: StartWorker, open_chat: OpenChat
) -> None:
    service = await start_service()
    await start_worker(service.url, engine=WORDS, worker_threads=1)
    page = await open_chat(service)
    await _ask(page, LONG)
    await expect(page.locator("#turns li.assistant")).to_contain_text("word2")
    await page.reload()
    await expect(page.locator("#turns li.user .bubble")).to_have_text(LONG)
    await expect(page.locator("#turns li.assistant")).to_contain_text("word59")
    assert await _answer(page) == LONG
    await page.reload()
    assert await _answer(page) == LONG, "the conversation is the tab's"
    await _nothing_is_left(service)


async def test_a_wrong_token_is_reported_and_a_right_one_opens(
    start_service: StartService, browser: Browser
) -> None:
    service = await start_service()
    page = await browser.new_page(color_scheme="dark")
    await page.goto(f"{service.url}/chat")
    await page.get_by_label("Token").fill("wrong")
    await page.keyboard.press("Enter")
    await expect(page.locator("#status")).to_contain_text("token")
    await page.get_by_label("Token").fill(TOKEN)
    await page.keyboard.press("Enter")
    await expect(page.get_by_label("Your message")).to_be_focused()
    assert await page.get_by_label("Service").input_value() == "svc"
    await keep_picture(page, "dark")
    await page.close()


async def test_an_error_is_shown_in_the_place_of_the_answer(
    start_service: StartService, start_worker: StartWorker, open_chat: OpenChat
) -> None:
    service = await start_service()
    await start_worker(service.url, engine=WORDS, worker_threads=1)
    page = await open_chat(service)
    await _ask(page, "bad")
    await expect(page.locator("#turns li.assistant")).to_contain_text("expected something better")
    await _ask(page, "<b>good</b>")
    await expect(page.locator("#turns li.assistant > .text").last).to_have_text("<b>good</b>")
    await _nothing_is_left(service)


async def test_the_page_lets_nothing_else_in(start_service: StartService) -> None:
    service = await start_service()
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{service.url}/chat") as answer,
    ):
        assert answer.status == 200
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "://" not in (await answer.text()).replace("xmlns", "")
