"""A picture, a sound, JSON and text, as a user sees them; errors, a cancel, a reload."""

import json
import wave
from pathlib import Path

import aiohttp
import pytest
from PIL import Image
from playwright.async_api import Browser, expect

from tests.conftest import StartService, StartWorker
from tests.queue_service.web.chat.conftest import PATIENCE_S
from tests.queue_service.web.try_page.conftest import (
    HANDLERS,
    OpenPage,
    forget,
    is_over,
    keep_picture,
    nothing_is_wide,
)
from tests.running import TOKEN

pytestmark = pytest.mark.timeout(240)
expect.set_options(timeout=PATIENCE_S * 1000)


#: Gives the page a file, as a user does who pastes or drops it.
GIVE_FILE = """([kind, holder]) => {
  const given = new DataTransfer();
  given.items.add(new File([new Uint8Array([1, 2])], `${kind}.png`, {type: "image/png"}));
  const event = new Event(kind, {bubbles: true, cancelable: true});
  Object.defineProperty(event, holder, {value: given});
  document.body.dispatchEvent(event);
}"""


def cat(folder: Path) -> Path:
    path = folder / "cat.png"
    noise = Image.effect_noise((640, 480), 90).convert("RGB")
    noise.save(path)
    return path


def sound(folder: Path) -> Path:
    path = folder / "voice.wav"
    with wave.open(str(path), "wb") as written:
        written.setnchannels(1)
        written.setsampwidth(2)
        written.setframerate(16_000)
        written.writeframes(bytes(32_000))
    return path


async def test_a_picture_is_painted_step_by_step(open_page: OpenPage, tmp_path: Path) -> None:
    page = await open_page("Painter")
    await expect(page.locator("#what")).to_contain_text("It makes a picture.")
    await nothing_is_wide(page)
    await keep_picture(page, "picture-begin")
    await page.get_by_label("prompt").fill("A harbour at dawn")
    await page.locator("input[type=file]").set_input_files(cat(tmp_path))
    await expect(page.locator(".preview img")).to_be_visible()
    await page.get_by_label("steps", exact=True).fill("6")
    await page.get_by_role("radio", name="large").check()
    await page.get_by_role("button", name="Run").click()
    await expect(page.locator("#artifacts > li").first).to_be_visible()
    await expect(page.locator("#progress")).to_be_visible()
    await keep_picture(page, "picture-running")
    await is_over(page)
    await expect(page.locator("#result img")).to_be_visible()
    await expect(page.locator("#artifacts img")).to_have_count(6)
    assert await page.locator("#result img").evaluate("node => node.naturalWidth") == 512
    await keep_picture(page, "picture-done")

    curl = await page.locator("#snippet").inner_text()
    assert "-F 'image=@cat.png'" in curl
    assert "-F 'prompt=A harbour at dawn'" in curl
    assert "$PENSTOCK_TOKEN" in curl
    assert TOKEN not in curl
    await page.get_by_role("radio", name="Python").check()
    python = await page.locator("#snippet").inner_text()
    assert 'client.files.upload("cat.png")' in python
    compile(python, "snippet", "exec")
    for scheme in ("dark", "light"):
        await page.emulate_media(color_scheme=scheme)
        for width in (390, 1200):
            await page.set_viewport_size({"width": width, "height": 800})
            await nothing_is_wide(page)
            await keep_picture(page, f"picture-{scheme}-{width}")
    async with page.expect_download() as download:
        await page.locator("#result").get_by_role("button", name="Download").click()
    saved = await (await download.value).path()
    with Image.open(saved) as picture:
        assert picture.size == (512, 384)
    await forget(page)


async def test_a_sound_comes_back_louder(open_page: OpenPage, tmp_path: Path) -> None:
    page = await open_page("listen")
    await page.get_by_role("button", name="Run").click()
    await expect(page.locator(".field.file .error")).to_have_text("Expected a sound.")
    await page.locator("input[type=file]").set_input_files(sound(tmp_path))
    await expect(page.locator(".preview audio")).to_be_visible()
    await page.get_by_label("language", exact=True).first.select_option(label="de")
    await page.get_by_role("button", name="Run").click()
    await is_over(page)
    await expect(page.locator("#result audio")).to_be_visible()
    await keep_picture(page, "sound")
    await forget(page)


async def test_json_goes_in_by_fields_and_comes_back_as_a_tree(open_page: OpenPage) -> None:
    page = await open_page("describe")
    await page.get_by_label("name").fill("<b>Ada</b>")
    scores = page.locator(".field.list", has_text="scores")
    for number in ("1.5", "2"):
        await scores.get_by_role("button", name="Add one").click()
        await page.keyboard.type(number)
    await page.get_by_label("seed").fill("many")
    await page.keyboard.press("Control+Enter")
    await expect(page.locator(".error:visible")).to_contain_text("got many")
    await expect(page.get_by_label("seed")).to_be_focused()
    await keep_picture(page, "json-wrong")
    await page.get_by_label("seed").fill("7")
    await page.keyboard.press("Control+Enter")
    await is_over(page)
    tree = page.locator("#result .tree")
    await expect(tree).to_contain_text("<b>Ada</b>")
    await expect(tree).to_contain_text("<img src=x onerror=alert(1)>")
    assert await tree.locator("b, img").count() == 0, "nothing of it is HTML"
    await expect(tree).to_contain_text("[1.5, 2]")
    await keep_picture(page, "json")
    await page.set_viewport_size({"width": 390, "height": 800})
    await nothing_is_wide(page)
    await keep_picture(page, "json-390")
    await forget(page)


async def test_text_grows_and_is_cancelled_and_a_reload_goes_on(open_page: OpenPage) -> None:
    page = await open_page("words", worker_threads=1)
    await page.get_by_label("Text").fill("one two three")
    await page.keyboard.press("Control+Enter")
    await is_over(page)
    await expect(page.locator("#result pre")).to_have_text("one two three ")
    await forget(page)
    await page.get_by_label("Text").fill("wait for ever")
    await page.keyboard.press("Control+Enter")
    await expect(page.locator("#status")).to_have_text("Running.")
    await page.reload()
    await expect(page.locator("#status")).to_have_text("Running.")
    await expect(page.get_by_label("Text")).to_have_value("wait for ever")
    await page.get_by_role("button", name="Cancel").click()
    await is_over(page, "Canceled.")
    await forget(page)


async def test_what_the_service_refuses_is_beside_its_field(open_page: OpenPage) -> None:
    page = await open_page("describe")
    await page.get_by_label("name").fill("x" * 41)
    scores = page.locator(".field.list", has_text="scores").first
    await scores.get_by_role("button", name="Add one").click()
    await page.keyboard.type("1")
    await page.get_by_label("weights").fill('{"a": "heavy"}')
    await page.keyboard.press("Control+Enter")
    name = page.locator(".field", has=page.get_by_label("name")).last
    await expect(name.locator(".error")).to_contain_text("Expected at most 40 characters")
    await expect(page.get_by_label("name")).to_be_focused()
    await expect(page.get_by_label("name")).to_have_attribute("aria-invalid", "true")
    # What is inside of JSON has no field of its own.
    await expect(page.locator("#unplaced")).to_contain_text("/weights/a: expected a number")
    await page.get_by_label("name").fill("Ada")
    await expect(name.locator(".error")).to_be_hidden()


async def test_a_failed_job_says_why(open_page: OpenPage) -> None:
    page = await open_page("Painter")
    await page.get_by_label("prompt").fill("fail")
    await page.keyboard.press("Control+Enter")
    await expect(page.locator("#attempts li").first).to_contain_text("Attempt 1 failed")
    await is_over(page, "Failed.")
    await expect(page.locator("#result .problem")).to_contain_text("there is no paint left")
    await keep_picture(page, "failed")
    await forget(page)


async def test_the_same_input_is_json_and_files_are_pasted_and_dropped(
    open_page: OpenPage, tmp_path: Path
) -> None:
    page = await open_page("Painter")
    await page.get_by_label("prompt").fill("a boat")
    await page.get_by_role("radio", name="JSON").check()
    box = page.get_by_label("Input as JSON")
    asked = json.loads(await box.input_value())
    assert asked == {"prompt": "a boat", "steps": 4, "size": "medium", "hq": False}
    await box.fill("{")
    await page.get_by_role("radio", name="Form").click()
    await expect(page.locator(".error:visible")).to_contain_text("Expected JSON")
    await box.fill(json.dumps({**asked, "steps": 1, "size": "small"}))
    await page.get_by_role("radio", name="Form").check()
    await expect(page.get_by_label("steps", exact=True)).to_have_value("1")
    # Pasted or dropped anywhere, a file goes to the field that takes it.
    for kind, holder in (("paste", "clipboardData"), ("drop", "dataTransfer")):
        await page.evaluate(GIVE_FILE, [kind, holder])
        await expect(page.locator(".preview .name")).to_contain_text(f"{kind}.png")
        await page.locator(".preview").get_by_role("button", name="Remove").click()
    await page.get_by_role("button", name="Run").click()
    await is_over(page)
    assert await page.locator("#result img").evaluate("node => node.naturalWidth") == 128
    await forget(page)


async def test_a_service_that_declares_nothing_takes_text_json_and_files(
    open_page: OpenPage, tmp_path: Path
) -> None:
    page = await open_page("Plain", declares=False)
    await expect(page.locator("#what")).to_contain_text("declare no inputs")
    await page.locator("#fields textarea:visible").fill("@bc")
    # The policy of the page forbids the address of a storage.
    async with page.expect_request("**/result?redirect=false"):
        await page.get_by_role("button", name="Run").click()
    await is_over(page)
    await expect(page.locator("#result pre")).to_have_text("cb@")
    assert "--data-raw '@bc'" in await page.locator("#snippet").inner_text()
    await forget(page)
    await page.get_by_role("radio", name="File").check()
    (tmp_path / "text.bin").write_bytes(b"123")
    await page.locator("input[type=file]").set_input_files(tmp_path / "text.bin")
    await page.get_by_role("button", name="Run").click()
    await is_over(page)
    # JSON, whose only value is a number.
    await expect(page.locator("#result .tree")).to_have_text("321")
    assert "--data-binary '@text.bin'" in await page.locator("#snippet").inner_text()
    await forget(page)


async def test_a_wrong_token_is_reported_and_a_right_one_opens(
    start_service: StartService, browser: Browser
) -> None:
    service = await start_service()
    page = await browser.new_page(color_scheme="dark")
    await page.goto(f"{service.url}/try/svc")
    await page.get_by_label("Token").fill("wrong")
    await page.keyboard.press("Enter")
    await expect(page.locator("#notice")).to_have_text("This token is not valid for any service.")
    await keep_picture(page, "token")
    await page.get_by_label("Token").fill(TOKEN)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("button", name="Run")).to_be_visible()
    assert await page.get_by_label("Service").input_value() == "svc"
    assert TOKEN not in page.url
    await page.close()


async def test_another_host_name_over_plain_http_behind_a_prefix(
    start_service: StartService, start_worker: StartWorker, browser_elsewhere: Browser
) -> None:
    service = await start_service(allowed_hosts="queue.example", root_path="/ml")
    await start_worker(service.url, engine=f"{HANDLERS}:words")
    url = f"http://queue.example:{service.port}"
    page = await browser_elsewhere.new_page()
    await page.goto(f"{url}/ml/try#token={TOKEN}")
    await page.locator("#fields textarea:visible").fill("hello there")
    await page.get_by_role("button", name="Run").click()
    await is_over(page)
    await expect(page.locator("#result pre")).to_contain_text("hello there")
    assert f"{url}/ml/v1/services/svc/jobs" in await page.locator("#snippet").inner_text()
    assert page.url == f"{url}/ml/try/svc"
    await forget(page)
    await page.close()


async def test_the_page_lets_nothing_else_in(start_service: StartService) -> None:
    service = await start_service()
    async with aiohttp.ClientSession() as session:
        for path in ("/try", "/try/svc", "/try-page/try.js", "/try-page/try.css"):
            async with session.get(f"{service.url}{path}") as answer:
                assert answer.status == 200
                policy = answer.headers["Content-Security-Policy"]
                assert "default-src 'none'" in policy
                assert "unsafe" not in policy
                text = await answer.text()
                assert "innerHTML" not in text
                assert "://" not in text
