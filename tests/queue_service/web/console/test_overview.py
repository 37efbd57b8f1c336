"""Sign-in, and all services at once: live, for operators and for one service's token."""

import aiohttp
import pytest
from playwright.async_api import Browser, expect

from client_sdk.wire.load import Load
from tests.conftest import StartService, StartWorker
from tests.queue_service.web.chat.conftest import PATIENCE_S
from tests.queue_service.web.console.conftest import HANDLERS, OpenConsole, looks_right
from tests.queue_service.web.console.silent_worker import silent_worker
from tests.running import ADMIN_TOKEN, TOKEN
from tests.waiting import wait_until

pytestmark = [pytest.mark.timeout(240), pytest.mark.leaves_entries]
expect.set_options(timeout=PATIENCE_S * 1000)


async def put(url: str, service: str, count: int, body: object = "hello") -> None:
    headers = {"Authorization": TOKEN}
    async with aiohttp.ClientSession(headers=headers) as session:
        for _ in range(count):
            async with session.post(f"{url}/v1/services/{service}/jobs", json=body) as answer:
                assert answer.status == 202, await answer.text()


async def test_the_overview_shows_what_needs_attention_and_follows_it(
    start_service: StartService, start_worker: StartWorker, open_console: OpenConsole
) -> None:
    service = await start_service(
        {"name": "writing"},
        {"name": "full", "sink": {"max_length": 3}},
        {"name": "broken", "dead_message_policy": "Park", "max_delivery": 1},
        {"name": "video"},
        {"name": "idle"},
        result_retention_ms=3_600_000,
    )
    for name, handler in (("writing", "write"), ("full", "write"), ("broken", "fail")):
        await start_worker(service.url, name, engine=f"{HANDLERS}:{handler}")
    await put(service.url, "writing", 2)
    await put(service.url, "full", 5)
    await put(service.url, "broken", 6)
    load = Load(limit=1, state="resting", gpu_state="quarantined", gpu_reason="Xid 79")
    async with silent_worker(service.url, "video", "gpu-7", load, token=TOKEN, window=0):
        page = await open_console(service.url)
        await expect(page).to_have_title("Services · Penstock")
        row = page.get_by_role("row", name="full")
        await expect(row).to_contain_text("Sink full")
        await expect(row).to_contain_text("100 % of 3")
        attention = page.locator(".problems")
        await expect(attention).to_contain_text("The sink is full, so no job starts.")
        await expect(attention).to_contain_text("1 worker has a GPU that failed a check.")
        await expect(attention).to_contain_text("6 dead letters.")
        await expect(page.get_by_role("row", name="broken")).to_contain_text("of 6")
        await expect(page.locator("#live")).to_have_text("Live")
        await looks_right(page, "overview")
        # What comes now is shown without a reload, in the same row.
        link = page.get_by_role("row", name="idle").get_by_role("link")
        await link.focus()
        await put(service.url, "idle", 3)
        waiting = page.get_by_role("row", name="idle").get_by_role("cell").first
        await expect(waiting).to_contain_text("3")
        await expect(link).to_be_focused()
    await page.close()


async def test_a_wrong_token_is_reported_and_the_right_one_opens(
    start_service: StartService, browser: Browser
) -> None:
    service = await start_service()
    page = await browser.new_page()
    await page.goto(service.url)
    await expect(page.get_by_role("heading", level=1)).to_contain_text("Inference jobs")
    await looks_right(page, "welcome")
    await page.get_by_label("Token").fill("wrong")
    await page.keyboard.press("Enter")
    await expect(page.locator("#notice")).to_contain_text("This token is not valid.")
    await expect(page.get_by_label("Token")).to_be_focused()
    await page.get_by_label("Token").fill(ADMIN_TOKEN)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("row", name="svc")).to_be_visible()
    await expect(page.locator("#page h1")).to_be_focused()
    await page.reload()
    await expect(page.get_by_role("row", name="svc")).to_be_visible()
    assert ADMIN_TOKEN not in page.url
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_label("Token")).to_be_visible()
    await page.reload()
    await expect(page.get_by_label("Token")).to_be_visible()
    await page.close()


async def test_a_services_token_opens_that_service_only(
    start_service: StartService, open_console: OpenConsole
) -> None:
    service = await start_service({"name": "mine", "token": "mine"}, {"name": "theirs"})
    page = await open_console(service.url, token="mine")
    await expect(page.get_by_role("row", name="mine")).to_be_visible()
    await expect(page.get_by_role("row", name="theirs")).to_have_count(0)
    await expect(page.get_by_role("link", name="Create a service")).to_have_count(0)
    await page.close()


async def test_behind_a_prefix_over_plain_http(
    start_service: StartService, browser_elsewhere: Browser
) -> None:
    service = await start_service(allowed_hosts="queue.example", root_path="/ml")
    page = await browser_elsewhere.new_page()
    for path in ("/ml/", "/ml/console"):
        await page.goto(f"http://queue.example:{service.port}{path}#token={ADMIN_TOKEN}")
        await expect(page.get_by_role("row", name="svc")).to_be_visible()
        await expect(page.locator("#live")).to_have_text("Live")
    await page.close()


async def test_a_bare_mount_keeps_the_root_for_its_queue(start_service: StartService) -> None:
    service = await start_service(bare_mount=True)
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{service.url}/?_attrs_=true") as answer:
            assert answer.status == 401
        async with session.get(f"{service.url}/console") as answer:
            assert (answer.status, answer.content_type) == (200, "text/html")


async def test_the_files_let_nothing_else_in(start_service: StartService) -> None:
    service = await start_service()
    async with aiohttp.ClientSession() as session:
        for path in ("/", "/console", "/console/console.js", "/console/theme.css"):
            async with session.get(f"{service.url}{path}") as answer:
                assert answer.status == 200
                policy = answer.headers["Content-Security-Policy"]
                assert "default-src 'none'" in policy
                assert "unsafe" not in policy
                text = await answer.text()
                assert "innerHTML" not in text


async def test_replicas_show_the_same_activity(
    start_service: StartService, start_worker: StartWorker
) -> None:
    first = await start_service()
    second = await start_service()
    await start_worker(first.url, engine=f"{HANDLERS}:write")
    await put(first.url, "svc", 4)
    headers = {"Authorization": ADMIN_TOKEN}
    async with aiohttp.ClientSession(headers=headers) as session:

        async def runs() -> int:
            async with session.get(f"{second.url}/v1/services/svc/activity") as answer:
                assert answer.status == 200
                return sum((await answer.json())["runs"])

        async def is_written() -> bool:
            return await runs() == 4

        await wait_until(is_written, "the other replica shows the runs")
        async with session.get(f"{second.url}/v1/services/svc/activity?range=day") as answer:
            day = await answer.json()
            assert (len(day["runs"]), day["step_s"]) == (96, 900)
            assert day["failed"] == [0] * 96
        async with session.get(f"{second.url}/v1/services/svc/activity?range=week") as answer:
            assert answer.status == 400
        async with session.get(f"{second.url}/v1/overview") as answer:
            (shown,) = (await answer.json())["services"]
            assert shown["pace"]["hour"] == {"runs": 4, "failed": 0}
            assert shown["pace"]["wait_s"]["p95"] >= shown["pace"]["wait_s"]["p50"] >= 0
