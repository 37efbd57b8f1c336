"""Every change that an operator asks for has its entry in the audit log."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis

from queue_service.service.access import Scope
from queue_service.web.routes import TABLE
from tests.conftest import Serve
from tests.running import ADMIN_TOKEN, TOKEN

_NAMES = {"service": "svc", "token": "0123456789ab", "name": "hook", "id": "1", "worker": "w"}
#: Changes that no person asks for: autoscalers report, and hold their lease.
NOT_AUDITED = {
    ("PUT", "/v1/services/{service}/scale"),
    ("DELETE", "/v1/services/{service}/scale"),
}
#: The routes with which operators change something, from the table of all routes.
CHANGES = sorted(
    (route.method, route.documented_path)
    for route in TABLE
    if route.method != "GET" and Scope.ADMIN in route.needs.any_of
)


def _path(route: str) -> str:
    for name, value in _NAMES.items():
        route = route.replace(f"{{{name}}}", value)
    return route


class Operator:
    """Asks with the admin token, or another one."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session, self._url = session, url

    async def ask(
        self, method: str, path: str, *, token: str = ADMIN_TOKEN, **more: Any
    ) -> tuple[int, Any]:
        headers = {"Authorization": token, **more.pop("headers", {})}
        async with self._session.request(
            method, f"{self._url}{path}", headers=headers, **more
        ) as answer:
            is_json = answer.content_type == "application/json"
            return answer.status, await answer.json() if is_json else await answer.text()

    async def entries(self, query: str = "") -> list[dict[str, Any]]:
        status, found = await self.ask("GET", f"/v1/audit{query}")
        assert status == 200, found
        return list(found["entries"])


@pytest.fixture
async def operator(serve: Serve) -> AsyncIterator[Operator]:
    url = await serve(audit_entries=100, trusted_proxies="127.0.0.1")
    async with aiohttp.ClientSession() as session:
        yield Operator(session, url)


def test_there_are_changes_to_audit() -> None:
    assert len(CHANGES) > 20


@pytest.mark.parametrize(("method", "route"), CHANGES, ids=str)
async def test_each_change_of_an_operator_is_written_down(
    operator: Operator, method: str, route: str
) -> None:
    status, _ = await operator.ask(method, _path(route))
    entries = await operator.entries()
    if (method, route) in NOT_AUDITED:
        assert entries == []
        return
    (entry,) = entries
    assert (entry["method"], entry["route"], entry["status"]) == (method, route, status)
    assert (entry["who"], entry["remote"]) == ("admin", "127.0.0.1")
    assert entry["path"] == _path(route)
    assert entry["service"] == ("svc" if "{service}" in route else "")


async def test_an_entry_says_which_token_asked_and_what_was_made(operator: Operator) -> None:
    wish = {"scopes": ["admin"]}
    _, made = await operator.ask("POST", "/v1/tokens", json=wish)
    headers = {"X-Forwarded-For": "10.9.8.7, 192.0.2.1"}
    path = f"/v1/tokens/{made['id']}"
    status, _ = await operator.ask("DELETE", path, token=made["token"], headers=headers)
    assert status == 204
    await operator.ask("PUT", "/v1/services/svc/webhooks/jobs", token=TOKEN, json={})
    hook, revoked, created = await operator.entries()
    assert (created["about"], created["status"]) == (made["id"], 201)
    # The token has revoked itself; the address is the one that the proxy has added.
    assert (revoked["who"], revoked["remote"]) == (made["id"], "192.0.2.1")
    assert hook["who"] == "service"
    assert made["token"] not in str([hook, revoked, created])
    assert await operator.entries(f"?who={made['id']}") == [revoked]
    assert await operator.entries("?service=svc") == [hook]


async def test_strangers_and_weak_tokens_write_nothing(operator: Operator) -> None:
    for token in ("wrong", TOKEN):
        status, _ = await operator.ask("DELETE", "/v1/services/svc", token=token)
        assert status in (401, 403)
    assert await operator.entries() == []
    assert (await operator.ask("GET", "/v1/audit", token=TOKEN))[0] in (401, 403)


async def test_a_clients_token_cannot_fill_the_log(operator: Operator) -> None:
    _, made = await operator.ask("POST", "/v1/tokens", json={"scopes": ["submit"]})
    path = "/v1/services/none/webhooks/jobs"
    for token in (made["token"], TOKEN):
        assert (await operator.ask("DELETE", path, token=token))[0] == 404
    assert len(await operator.entries()) == 1
    assert (await operator.ask("DELETE", path))[0] == 404
    assert [one["who"] for one in await operator.entries()] == ["admin", "admin"]


async def test_the_log_is_read_in_parts_and_bounded(
    operator: Operator, redis: Redis, key_prefix: str
) -> None:
    for _ in range(110):
        await operator.ask("POST", "/v1/services/none/stop")
    _, found = await operator.ask("GET", "/v1/audit?limit=60")
    rest = await operator.entries(f"?before={found['next']}&limit=60")
    assert len(found["entries"]) + len(rest) == 100
    ids = [entry["id"] for entry in [*found["entries"], *rest]]
    assert ids == sorted(ids, reverse=True, key=lambda one: tuple(map(int, one.split("-"))))
    assert await redis.pttl(f"{key_prefix}:{{*}}:audit") > 0
    for wrong in ("soon", "0-0", "\N{ARABIC-INDIC DIGIT THREE}-1"):
        assert (await operator.ask("GET", "/v1/audit", params={"before": wrong}))[0] == 400
