"""What a page of another origin can do, in a real browser."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.async_api import BrowserContext, Page

from tests.conftest import StartService
from tests.queue_service.web.chat.conftest import LOOP
from tests.running import TOKEN, QueueServiceProcess

pytestmark = [pytest.mark.timeout(120), pytest.mark.asyncio(loop_scope=LOOP)]

#: Everything a page can do without a preflight; gives what it could read of the answers.
_ATTACK = """async ([url, socket]) => {
  const seen = [];
  for (const [path, options] of [
    ["/api/predict/svc", {method: "POST", body: "x"}],
    ["/api/predict/svc", {method: "POST", body: "x", mode: "no-cors"}],
    ["/api/predict/svc", {mode: "no-cors"}],
    ["/v1/services/svc/jobs", {method: "POST", body: new FormData()}],
    ["/v1/services/svc/jobs", {}],
    ["/v1/models", {headers: {Authorization: "a-test-token"}}],
  ]) {
    try {
      const answer = await fetch(url + path, options);
      if (answer.type !== "opaque") seen.push(path);
    } catch { /* refused */ }
  }
  const opened = await new Promise((done) => {
    const made = new WebSocket(socket + "/api/predict/svc?_watch_=true");
    made.onopen = () => done(true);
    made.onerror = () => done(false);
  });
  if (opened) seen.push("websocket");
  const followed = await new Promise((done) => {
    const source = new EventSource(url + "/v1/services/svc/jobs/kept/events");
    source.onopen = () => { source.close(); done(true); };
    source.onerror = () => { source.close(); done(false); };
  });
  if (followed) seen.push("events");
  return seen;
}"""

#: What an application does: puts a job, reads a header of the answer, and follows the job.
_USE = """async ([url, token]) => {
  const headers = {Authorization: token, "Idempotency-Key": "one", "Content-Type": "text/plain"};
  const jobs = url + "/v1/services/svc/jobs";
  const put = await fetch(jobs, {method: "POST", headers, body: "hello"});
  const id = (await put.json()).id;
  const missing = await fetch(jobs + "/nope", {headers: {Authorization: token}});
  const follow = new AbortController();
  const events = await fetch(
    `${jobs}/${id}/events`, {headers: {Authorization: token}, signal: follow.signal});
  const first = await events.body.getReader().read();
  follow.abort();
  await fetch(`${jobs}/${id}/cancel`, {method: "POST", headers: {Authorization: token}});
  await fetch(`${jobs}/${id}`, {method: "DELETE", headers: {Authorization: token}});
  return {
    location: put.headers.get("Location"),
    code: missing.headers.get("X-Penstock-Error-Code"),
    event: new TextDecoder().decode(first.value).slice(0, 6),
  };
}"""


class _Empty(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"<!doctype html><title>another site</title>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def other_site() -> Iterator[str]:
    """Serve an empty page at another port, which is another origin."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Empty) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


async def _open(context: BrowserContext, site: str) -> Page:
    page = await context.new_page()
    await page.goto(site)
    return page


def _length(service: QueueServiceProcess) -> str:
    return f"{service.url}/api/predict/svc?_attrs_=true"


async def test_a_foreign_page_neither_puts_nor_takes_nor_follows_at_an_open_service(
    start_service: StartService, context: BrowserContext, other_site: str
) -> None:
    service = await start_service({"name": "svc", "token": ""})
    request = context.request
    await request.put(f"{service.url}/v1/services/svc/jobs/kept", data="for a worker")
    page = await _open(context, other_site)
    seen = await page.evaluate(_ATTACK, [service.url, service.url.replace("http", "ws")])
    assert seen == []
    state = await (await request.get(_length(service))).json()
    assert state["stream.length"] == "1"
    await request.post(f"{service.url}/v1/services/svc/jobs/kept/cancel")
    await request.delete(f"{service.url}/v1/services/svc/jobs/kept")


async def test_an_allowed_page_uses_the_service_and_reads_its_headers(
    start_service: StartService, context: BrowserContext, other_site: str
) -> None:
    service = await start_service(allowed_origins=other_site)
    page = await _open(context, other_site)
    seen = await page.evaluate(_USE, [service.url, TOKEN])
    assert seen["location"].startswith("/v1/services/svc/jobs/")
    assert seen["code"] == "NOT_FOUND"
    assert seen["event"] == "retry:"


async def test_a_rebound_name_reaches_nothing(
    start_service: StartService, context: BrowserContext
) -> None:
    service = await start_service({"name": "svc", "token": ""})
    # What a name that resolves to this machine makes a browser send.
    page = await context.new_page()
    answer = await page.goto(f"http://penstock.localhost:{service.port}/chat")
    assert answer is not None
    assert answer.status == 200
    headers = {"Host": "evil.example"}
    refused = await context.request.get(f"{service.url}/v1/models", headers=headers)
    assert refused.status == 421
