"""Web pages: DNS rebinding, cross-site requests of every kind, and CORS for those that may ask."""

import re
from collections.abc import AsyncIterator

import aiohttp
import pytest

from client_sdk.wire import names
from client_sdk.wire.codes import Code
from tests.attacks.strangers import PATIENCE_S
from tests.conftest import Serve
from tests.running import ADMIN_TOKEN, TOKEN

EVIL = "http://evil.example"
APP = "https://app.example"
QUEUE = "/api/predict/svc"
JOBS = "/v1/services/svc/jobs"
#: One path of each API, and one that is nowhere.
PATHS = [
    *(QUEUE, f"{QUEUE}/sink", JOBS, f"{JOBS}/x", "/v1/models", "/v1/chat/completions", "/nope"),
    *("/healthz", "/metrics", "/chat", "/openapi.json", "/v1/services", "/v1/tokens"),
]
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    # With the token: that a page has none is not what protects here.
    timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
    async with aiohttp.ClientSession(headers={"Authorization": TOKEN}, timeout=timeout) as opened:
        yield opened


async def length_of(session: aiohttp.ClientSession, url: str) -> str:
    async with session.get(f"{url}{QUEUE}?_attrs_=true") as answer:
        return str((await answer.json())["stream.length"])


@pytest.mark.parametrize("path", PATHS)
async def test_the_error_for_a_page_under_a_rebound_name_names_the_setting_for_hosts(
    session: aiohttp.ClientSession, url: str, path: str
) -> None:
    for host in ("evil.example:8080", "127.0.0.1.evil.example", "localhost.evil.example"):
        for method in ("GET", "POST", "OPTIONS"):
            # To the browser the page is of the same origin.
            headers = {"Host": host, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}
            async with session.request(method, url + path, headers=headers) as answer:
                assert answer.status == 421, (host, method)
                assert answer.headers[names.ERROR_CODE_HEADER] == Code.HOST_NOT_ALLOWED
                assert "PENSTOCK_ALLOWED_HOSTS" in await answer.text()
                assert "Access-Control-Allow-Origin" not in answer.headers


async def test_two_hosts_are_no_host(url: str) -> None:
    import asyncio  # noqa: PLC0415

    from yarl import URL  # noqa: PLC0415

    address = URL(url)
    for lines in (
        b"GET /healthz HTTP/1.1\r\nHost: evil.example\r\nHost: localhost\r\n",
        b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n",
        b"GET http://evil.example/healthz HTTP/1.1\r\nHost: localhost\r\n",
    ):
        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(lines + b"Connection: close\r\n\r\n")
        status = int((await reader.read()).split()[1])
        writer.close()
        assert status in (400, 421), lines


@pytest.mark.parametrize("host", ["gpu-box", "queue.corp.test", "penstock.example:8080"])
async def test_names_of_the_setting_are_answered(
    session: aiohttp.ClientSession, serve: Serve, host: str
) -> None:
    url = await serve(allowed_hosts="gpu-box, .corp.test, penstock.example")
    async with session.get(f"{url}/healthz", headers={"Host": host}) as answer:
        assert answer.status == 200
    headers = {"Host": host, "Origin": f"http://{host}"}
    async with session.get(f"{url}/v1/models", headers=headers) as answer:
        assert answer.status == 200


async def test_the_service_answers_at_the_names_that_direct_clients_get(
    session: aiohttp.ClientSession, serve: Serve
) -> None:
    url = await serve(direct_endpoints="queue-1.test:80, [::1]:8080")
    async with session.get(f"{url}/healthz", headers={"Host": "queue-1.test"}) as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    "page",
    [
        {"Origin": EVIL},
        {"Origin": "null"},
        {"Origin": EVIL, "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
        {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"},
    ],
    ids=["origin", "null", "liar", "image", "sibling", "frame"],
)
@pytest.mark.parametrize("token", [TOKEN, ""], ids=["token", "open"])
async def test_a_page_of_another_site_does_nothing_and_reads_nothing(
    serve: Serve, page: dict[str, str], token: str
) -> None:
    url = await serve({"name": "svc", "token": token}, lease_ms=500)
    login = {"Authorization": token} if token else {}
    timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
    async with aiohttp.ClientSession(headers=login, timeout=timeout) as session:
        asked: list[tuple[str, str, dict[str, str]]] = [
            (method, path, {})
            for path in PATHS
            for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS")
        ]
        # What a form or a `fetch` sends without a preflight, and what has no preflight at all.
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
            asked += [("POST", path, {"Content-Type": kind}) for path in (QUEUE, JOBS)]
        asked += [
            ("GET", f"{QUEUE}?_watch_=true", UPGRADE),
            ("GET", "/v1/services/svc/work", UPGRADE),
            ("GET", f"{QUEUE}?_watch_=true", {}),
            ("GET", f"{JOBS}/x/events", {"Accept": "text/event-stream"}),
        ]
        for method, path, more in asked:
            headers = {**page, **more}
            async with session.request(method, url + path, headers=headers, data=None) as answer:
                assert answer.status == 403, (method, path)
                assert answer.headers[names.ERROR_CODE_HEADER] == Code.ORIGIN_NOT_ALLOWED
                assert "Access-Control-Allow-Origin" not in answer.headers
                if method != "HEAD":
                    assert "PENSTOCK_ALLOWED_ORIGINS" in await answer.text()
        assert await length_of(session, url) == "0"


async def test_a_link_opens_the_chat_page_and_takes_no_entry(
    session: aiohttp.ClientSession, url: str
) -> None:
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    link["Sec-Fetch-Dest"] = "document"
    for path, status in (("/chat", 200), ("/openapi.json", 200), (QUEUE, 403), (JOBS, 403)):
        async with session.get(url + path, headers=link) as answer:
            assert answer.status == status, path


async def test_our_own_page_and_programs_notice_nothing(
    session: aiohttp.ClientSession, url: str
) -> None:
    own = {"Origin": url, "Sec-Fetch-Site": "same-origin"}
    typed = {"Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate"}
    for headers in ({}, own, typed):
        async with session.get(f"{url}/v1/models", headers=headers) as answer:
            assert answer.status == 200
            assert "Access-Control-Allow-Origin" not in answer.headers
    # Alibaba's Python SDK names the address that it connects to.
    async with session.ws_connect(f"{url}{QUEUE}?_watch_=true", origin=url):
        pass


def assert_readable(answer: aiohttp.ClientResponse, origin: str = APP) -> None:
    headers = answer.headers
    assert headers.getall("Access-Control-Allow-Origin") == [origin]
    assert "Access-Control-Allow-Credentials" not in headers
    assert "Origin" in re.split(r"\s*,\s*", headers["Vary"])
    exposed = headers.get("Access-Control-Expose-Headers", "").lower()
    for name in (names.REQUEST_ID_HEADER, names.ERROR_CODE_HEADER, "location", "retry-after"):
        assert name.lower() in exposed


@pytest.mark.leaves_entries
async def test_a_page_of_an_allowed_origin_reads_every_api_errors_and_streams(
    session: aiohttp.ClientSession, serve: Serve
) -> None:
    url = await serve(allowed_origins=f"{APP}, http://localhost:3000")
    page = {"Origin": APP, "Sec-Fetch-Site": "cross-site"}
    for method, path, status in (
        ("POST", QUEUE, 200),
        ("GET", f"{QUEUE}/sink?_index_=none", 400),
        ("GET", f"{QUEUE}?_attrs_=true", 200),
        ("POST", JOBS, 202),
        ("GET", f"{JOBS}/unknown", 404),
        ("GET", "/v1/models", 200),
        ("POST", "/v1/chat/completions", 400),
        ("GET", "/nope", 404),
        ("GET", "/metrics", 401),
    ):
        async with session.request(method, url + path, headers=page) as answer:
            assert answer.status == status, path
            assert_readable(answer)
    async with session.post(url + JOBS, headers=page, data=b"x") as answer:
        job_id = (await answer.json())["id"]
    async with session.get(f"{url}{JOBS}/{job_id}/events", headers=page) as answer:
        assert answer.content_type == "text/event-stream"
        assert_readable(answer)
        assert (await answer.content.readline()).startswith(b"retry:")
    async with session.ws_connect(f"{url}{QUEUE}/sink?_watch_=true", headers=page):
        pass
    async with session.get(f"{url}/v1/models", headers={"Origin": EVIL}) as answer:
        assert answer.status == 403
    # A cache may not give this answer to the page either.
    async with session.get(f"{url}/v1/models") as answer:
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert answer.headers["Vary"] == "Origin"


@pytest.mark.parametrize("path", PATHS)
async def test_a_preflight_is_answered_for_allowed_origins_alone(serve: Serve, path: str) -> None:
    url = await serve(allowed_origins=APP)
    asks = {
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "authorization,idempotency-key,x-stainless-os",
    }
    # A browser sends no token with it.
    async with aiohttp.ClientSession() as session:
        async with session.options(url + path, headers={"Origin": APP, **asks}) as answer:
            assert answer.status == 204
            assert_readable(answer)
            assert "PUT" in answer.headers["Access-Control-Allow-Methods"]
            allowed = answer.headers["Access-Control-Allow-Headers"].lower()
            assert {"authorization", "idempotency-key", "x-stainless-os"} <= set(allowed.split(","))
            assert int(answer.headers["Access-Control-Max-Age"]) > 0
        async with session.options(url + path, headers={"Origin": EVIL, **asks}) as answer:
            assert answer.status == 403
            assert not [name for name in answer.headers if name.startswith("Access-Control")]


async def test_every_origin_may_be_allowed_and_is_still_named(
    session: aiohttp.ClientSession, serve: Serve
) -> None:
    url = await serve(allowed_origins="*")
    for origin in (EVIL, "null"):
        async with session.get(f"{url}/v1/models", headers={"Origin": origin}) as answer:
            assert answer.status == 200
            assert_readable(answer, origin)


async def test_the_host_that_a_trusted_proxy_forwards_counts_and_no_other(
    session: aiohttp.ClientSession, serve: Serve
) -> None:
    forwarded = {"X-Forwarded-Host": "penstock.example", "Origin": "https://penstock.example"}
    behind = await serve(allowed_hosts="penstock.example", trusted_proxies="127.0.0.0/8")
    async with session.get(f"{behind}/v1/models", headers=forwarded) as answer:
        assert answer.status == 200
    evil = {**forwarded, "X-Forwarded-Host": "penstock.example, evil.example"}
    async with session.get(f"{behind}/v1/models", headers=evil) as answer:
        assert answer.status == 421
    for proxies in ("", "10.0.0.0/8"):
        alone = await serve(allowed_hosts="penstock.example", trusted_proxies=proxies)
        async with session.get(f"{alone}/v1/models", headers=forwarded) as answer:
            assert answer.status == 403


async def test_operators_calls_are_refused_to_pages_too(url: str) -> None:
    headers = {"Authorization": ADMIN_TOKEN, "Origin": EVIL}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.put(f"{url}/v1/services/made", json={}) as answer,
    ):
        assert answer.status == 403
