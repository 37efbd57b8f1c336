"""What the chat page makes of answers and errors, and what a user can do with them."""

import json
import re
import struct
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.conftest import StartService, StartWorker
from tests.queue_service.web.chat.conftest import (
    LOOP,
    PATIENCE_S,
    OpenChat,
    keep_picture,
    watched_context,
)
from tests.running import TOKEN, running_service

ANSWERS = "handler:tests.queue_service.web.chat.handlers:Answers"

pytestmark = [pytest.mark.timeout(120), pytest.mark.asyncio(loop_scope=LOOP)]

expect.set_options(timeout=PATIENCE_S * 1000)


async def _ask(page: Page, text: str) -> None:
    await page.locator("#question").fill(text)
    await page.keyboard.press("Enter")
    await expect(page.locator("#stop")).to_be_hidden()


async def _told(page: Page) -> list[dict[str, object]]:
    """Return the messages that the last answer says it got."""
    text = await page.locator("#turns li.assistant figure code").last.inner_text()
    told: list[dict[str, object]] = json.loads(text)
    return told


async def test_markdown_is_shown_and_nothing_of_it_runs(
    start_service: StartService, start_worker: StartWorker, open_chat: OpenChat
) -> None:
    service = await start_service()
    await start_worker(service.url, engine=ANSWERS)
    page = await open_chat(service)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    await _ask(page, "rich")
    text = page.locator("#turns li.assistant > .text")
    await expect(text.locator("h3")).to_have_text("Sorting")
    await expect(text.locator("strong")).to_have_text("both")
    await expect(text.locator("em")).to_have_text("stress")
    await expect(text.locator("td").last).to_have_text("<script>alert(1)</script>")
    await expect(text.locator("ol > li > ul > li")).to_have_text(["first half", "second half"])
    await expect(text.locator("figure code")).to_contain_text("# <b>not bold</b>")
    await expect(text.locator("figcaption")).to_contain_text("python")
    await expect(text.locator("img")).to_have_count(1)
    links = await text.locator("a").evaluate_all("all => all.map(one => one.getAttribute('href'))")
    assert links == [
        "https://example.com/a_(b)",
        "https://example.org/x",
        "https://example.com/spy.png",
    ]
    assert await text.locator("script, b").count() == 0
    assert all(url.startswith((service.url, "data:")) for url in asked)
    await expect(page.locator("details.reasoning .text")).to_contain_text("Two lines of thought.")
    await expect(page.locator("details.reasoning .text")).not_to_be_visible()
    await page.locator("details.reasoning summary").click()
    await expect(page.locator("details.reasoning .text")).to_be_visible()
    await keep_picture(page, "rich")
    await page.set_viewport_size({"width": 360, "height": 640})
    await keep_picture(page, "rich-phone")
    width = await page.evaluate("document.documentElement.scrollWidth")
    assert width <= 360, "nothing is wider than a phone"


@pytest.mark.parametrize(
    ("markdown", "html"),
    [
        ("a * b * c", "<p>a * b * c</p>"),
        ("snake_case_name and __init__", "<p>snake_case_name and <strong>init</strong></p>"),
        ("**bold *both* bold**", "<p><strong>bold <em>both</em> bold</strong></p>"),
        (r"\*plain\* `a\*b` ``x`y``", "<p>*plain* <code>a\\*b</code> <code>x`y</code></p>"),
        ("one\ntwo", "<p>one<br>two</p>"),
        ("<img src=x onerror=alert(1)>", "<p>&lt;img src=x onerror=alert(1)&gt;</p>"),
        ("[x](javascript:alert(1))", "<p>[x](javascript:alert(1))</p>"),
        ("[x](data:text/html,hi)", "<p>[x](data:text/html,hi)</p>"),
        ("![x](data:image/svg+xml;base64,AAAA)", "<p>![x](data:image/svg+xml;base64,AAAA)</p>"),
        ("3. c\n4. d", '<ol start="3"><li>c</li><li>d</li></ol>'),
        ("- a\n\n  more\n- b", "<ul><li>a<p>more</p></li><li>b</li></ul>"),
        ("text\n- a", "<p>text</p><ul><li>a</li></ul>"),
        ("> q\n> r", "<blockquote><p>q<br>r</p></blockquote>"),
        ("---", "<hr>"),
        ("no table | here", "<p>no table | here</p>"),
        ("### deep #", "<h5>deep</h5>"),
        ("**open", "<p>**open</p>"),
        ("", ""),
    ],
)
async def test_markdown(open_markdown: Page, markdown: str, html: str) -> None:
    shown = await open_markdown.evaluate(RENDER, markdown)
    assert shown == html


@pytest.mark.parametrize(
    "text", ["*" * 20_000, "[" * 20_000, "`" * 20_000, "> " * 20_000, "- " * 20_000, "_a" * 10_000]
)
async def test_odd_text_is_shown_at_once(open_markdown: Page, text: str) -> None:
    # A cost that grows with the square of the length would freeze the tab for minutes.
    await open_markdown.evaluate(RENDER, text)


RENDER = """async (text) => {
  const {blocksOf, render} = await import("./chat/markdown.js");
  const made = document.createElement("div");
  made.append(...blocksOf(text).map((block) => render(block)));
  return made.innerHTML;
}"""


@pytest_asyncio.fixture(scope="module", loop_scope=LOOP)
async def open_markdown(
    shared_browser: Browser, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Page]:
    """A page for all tests that only call a function of its script, which keeps nothing."""
    with running_service(
        tmp_path_factory.mktemp("markdown") / "service.log",
        redis_url=redis_url,
        key_prefix="test-markdown",
        services=[{"name": "svc"}],
    ) as service:
        async with watched_context(shared_browser) as context:
            page = await context.new_page()
            await page.goto(f"{service.url}/chat")
            yield page


async def test_errors_are_in_words_for_the_user_and_leave_the_history_clean(
    start_service: StartService, start_worker: StartWorker, open_chat: OpenChat
) -> None:
    service = await start_service({"name": "svc", "retry": {"max_attempts": 1}})
    await start_worker(service.url, engine=ANSWERS)
    page = await open_chat(service)
    await _ask(page, "first")
    await _ask(page, "broken")
    problem = page.locator("#turns li.assistant").last.locator(".problem")
    await expect(problem).to_contain_text("The model failed on this message.")
    await expect(problem.locator("details p")).not_to_be_visible()
    await _ask(page, "long")
    problem = page.locator("#turns li.assistant").last.locator(".problem")
    await expect(problem).to_contain_text("This conversation has become too long for the model.")
    await keep_picture(page, "too-long")
    await _ask(page, "third")
    told = await _told(page)
    assert [message["role"] for message in told] == ["user", "assistant", "user"]
    assert (told[0]["content"], told[2]["content"]) == ("first", "third")
    await page.get_by_role("button", name="New conversation").click()
    await expect(page.locator("#turns > li")).to_have_count(0)
    await expect(page.locator("#greeting")).to_have_text("Chat with svc")


async def test_an_answer_is_tried_again_and_a_question_edited(
    start_service: StartService, start_worker: StartWorker, open_chat: OpenChat
) -> None:
    service = await start_service()
    await start_worker(service.url, engine=ANSWERS)
    page = await open_chat(service)
    await _ask(page, "first")
    await _ask(page, "second")
    await page.get_by_role("button", name="Retry").last.click()
    await expect(page.locator("#stop")).to_be_hidden()
    await expect(page.locator("#turns > li")).to_have_count(4)
    assert len(await _told(page)) == 3
    await page.get_by_role("button", name="Edit").first.click()
    await expect(page.locator("#question")).to_have_value("first")
    await page.locator("#question").fill("changed")
    await keep_picture(page, "editing")
    await page.keyboard.press("Enter")
    await expect(page.locator("#turns > li")).to_have_count(2)
    await expect(page.locator("#turns li.assistant > .text")).to_contain_text("changed")
    assert await _told(page) == [{"role": "user", "content": "changed"}]


async def test_a_conversation_is_discarded_only_after_a_confirmation(
    start_service: StartService, start_worker: StartWorker, open_chat: OpenChat
) -> None:
    service = await start_service()
    await start_worker(service.url, engine=ANSWERS)
    page = await open_chat(service)
    await expect(page.locator("#suggestions button")).to_have_count(3)
    await keep_picture(page, "welcome")
    await page.locator("#suggestions button").first.click()
    await expect(page.locator("#turns li.assistant > .text")).to_contain_text("queue")
    await page.get_by_role("button", name="New chat").click()
    await keep_picture(page, "discard")
    await page.keyboard.press("Escape")
    await expect(page.locator("#turns > li")).to_have_count(2)
    await page.get_by_role("button", name="New chat").click()
    await page.get_by_role("button", name="Discard").click()
    await expect(page.locator("#turns > li")).to_have_count(0)
    await page.reload()
    await expect(page.locator("#welcome")).to_be_visible()


async def test_a_picture_goes_with_the_question(
    start_service: StartService, start_worker: StartWorker, open_chat: OpenChat, tmp_path: Path
) -> None:
    service = await start_service()
    await start_worker(service.url, engine=ANSWERS)
    page = await open_chat(service)
    picture = tmp_path / "red.png"
    picture.write_bytes(_png(40, 30))
    (tmp_path / "no.png").write_bytes(b"no picture")
    await page.locator("#picture").set_input_files(picture)
    await expect(page.locator("#pictures li")).to_have_count(1)
    await page.locator("#picture").set_input_files(tmp_path / "no.png")
    await expect(page.locator("#status")).to_contain_text("no.png is not a picture")
    await _ask(page, "what is this?")
    (message,) = await _told(page)
    parts = message["content"]
    assert isinstance(parts, list)
    assert parts[0]["image_url"]["url"].startswith("data:image/jpeg;base64,")
    assert parts[1] == {"type": "text", "text": "what is this?"}
    await expect(page.locator("li.user .bubble img")).to_have_count(1)


async def test_it_works_over_plain_http_under_another_name(
    start_service: StartService, start_worker: StartWorker, browser_elsewhere: Browser
) -> None:
    service = await start_service(allowed_hosts="queue.example")
    await start_worker(service.url, engine=ANSWERS)
    context = await browser_elsewhere.new_context()
    page = await context.new_page()
    await page.goto(f"{service.url.replace('127.0.0.1', 'queue.example')}/chat#token={TOKEN}")
    assert not await page.evaluate("window.isSecureContext")
    await _ask(page, "hello")
    assert await _told(page) == [{"role": "user", "content": "hello"}]
    await page.get_by_role("button", name="Copy").last.click()
    await expect(page.get_by_role("button", name="Copied")).to_be_visible()
    await page.locator("#question").focus()
    await page.keyboard.press("Control+V")
    await expect(page.locator("#question")).to_have_value(re.compile('"content": "hello"'))
    await context.close()


def _png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    rows = b"".join(b"\0" + b"\xff\0\0" * width for _ in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks
