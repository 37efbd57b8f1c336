"""Who may ask for what: every route of every face, with every kind of token."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
import pytest
from aiohttp import web

from queue_service.service.access import Scope
from queue_service.settings.process import Settings
from queue_service.web.routes import routes
from tests.conftest import Serve
from tests.running import ADMIN_TOKEN, TOKEN
from tests.waiting import wait_until

#: Open to everybody: they tell nothing that a stranger may not know.
OPEN = {
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/openapi.json"),
    ("GET", "/chat"),
    ("GET", "/chat/chat.css"),
    ("GET", "/chat/chat.js"),
    ("GET", "/chat/jobs.js"),
    ("GET", "/api/v1/servicediscovery/upstreams/{service}"),
}
_JOBS = "/v1/services/{service}/jobs"
_DEAD = "/v1/services/{service}/dead-letters"
#: What a token must be good for: one of these is enough.
SCOPES: dict[tuple[str, str], set[Scope]] = {
    ("POST", _JOBS): {Scope.SUBMIT},
    ("PUT", f"{_JOBS}/{{job}}"): {Scope.SUBMIT},
    ("GET", _JOBS): {Scope.READ},
    ("GET", f"{_JOBS}/{{job}}"): {Scope.SUBMIT, Scope.READ},
    ("GET", f"{_JOBS}/{{job}}/result"): {Scope.READ},
    ("GET", f"{_JOBS}/{{job}}/events"): {Scope.READ},
    ("POST", f"{_JOBS}/{{job}}/cancel"): {Scope.CANCEL},
    ("DELETE", f"{_JOBS}/{{job}}"): {Scope.CANCEL, Scope.READ},
    ("GET", "/v1/services/{service}/work"): {Scope.WORK},
    ("GET", "/v1/services/{service}/workers"): {Scope.WORK},
    ("GET", "/v1/models/{model}"): {Scope.SUBMIT},
    ("GET", "/v1/models"): {Scope.SUBMIT},
    ("POST", "/v1/chat/completions"): {Scope.SUBMIT},
    ("POST", "/v1/completions"): {Scope.SUBMIT},
    ("POST", "/v1/embeddings"): {Scope.SUBMIT},
}
#: The operators': the admin token, or one with that scope for every service.
ADMIN = {
    ("GET", "/metrics"),
    ("GET", "/v1/services"),
    *((verb, "/v1/services/{service}") for verb in ("GET", "PUT", "DELETE")),
    ("POST", "/v1/services/{service}/stop"),
    ("POST", "/v1/services/{service}/start"),
    ("GET", "/v1/tokens"),
    ("POST", "/v1/tokens"),
    ("DELETE", "/v1/tokens/{token}"),
    ("GET", _DEAD),
    ("DELETE", _DEAD),
    ("POST", f"{_DEAD}/replay"),
    ("GET", f"{_DEAD}/{{id}}"),
    ("PATCH", f"{_DEAD}/{{id}}"),
    ("DELETE", f"{_DEAD}/{{id}}"),
    ("POST", f"{_DEAD}/{{id}}/replay"),
}
#: The EAS face has one path for each queue; the operation is in method and query.
EAS: dict[tuple[str, str], set[Scope]] = {
    ("POST", "svc"): {Scope.SUBMIT},
    ("POST", "svc/below?_eos_=false"): {Scope.CANCEL},
    ("GET", "svc"): {Scope.WORK},
    ("GET", "svc?_watch_=true"): {Scope.WORK},
    ("PUT", "svc?_indexes_=1"): {Scope.WORK},
    ("PUT", "svc?_indexes_=1&_negative_=true"): {Scope.WORK},
    ("DELETE", "svc?_indexes_=1"): {Scope.CANCEL},
    ("DELETE", "svc?_trunc_=true&_index_=0"): {Scope.CANCEL},
    ("GET", "svc?_attrs_=true"): set(Scope),
    ("GET", "svc?_count_=true"): set(Scope),
    ("GET", "svc?_search_=true&_index_=1"): set(Scope),
    ("POST", "svc/sink"): {Scope.WORK},
    ("POST", "svc/sink?_eos_=false"): {Scope.READ},
    ("GET", "svc/sink"): {Scope.READ},
    ("GET", "svc/sink?_watch_=true"): {Scope.READ},
    ("PUT", "svc/sink?_indexes_=1"): {Scope.READ},
    ("DELETE", "svc/sink?_indexes_=1"): {Scope.READ},
    ("GET", "svc/sink?_attrs_=true"): set(Scope),
}
_NAMES = {"{service}": "svc", "{model}": "svc", "{job}": "no-job", "{id}": "999", "{token}": "x"}
_OPENAI = re.compile("/v1/(chat/completions|completions|embeddings)")


@dataclass
class Caller:
    """Asks with one token after the other."""

    session: aiohttp.ClientSession
    url: str

    async def status(self, method: str, path: str, token: str | None, said: str = "") -> int:
        headers = {} if token is None else {"Authorization": token}
        # Nothing to answer, and of what is refused something that would be.
        asked = {name: said for name in ("messages", "prompt", "input")}
        body = {"model": "svc", **asked} if _OPENAI.match(path) else None
        async with self.session.request(
            method,
            self.url + path,
            json=body if method == "POST" else None,
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=10),
        ) as answer:
            return answer.status

    async def make_token(self, *scopes: Scope, services: list[str], **more: int) -> tuple[str, str]:
        wish = {"scopes": list(scopes), "services": services, **more}
        headers = {"Authorization": ADMIN_TOKEN}
        async with self.session.post(f"{self.url}/v1/tokens", json=wish, headers=headers) as answer:
            made = await answer.json()
            assert answer.status == 201, made
            return made["token"], made["id"]


@pytest.fixture
async def caller(serve: Serve) -> AsyncIterator[Caller]:
    url = await serve({"name": "svc"}, {"name": "other"})
    async with aiohttp.ClientSession() as session:
        yield Caller(session, url)


def _path(route: str) -> str:
    for name, value in _NAMES.items():
        route = route.replace(name, value)
    return route


def test_every_route_is_in_one_of_these_tables() -> None:
    known = {
        (route.method, route.path.replace(":[^/]+", ""))
        for route in routes(Settings())
        if isinstance(route, web.RouteDef)
    }
    known = {(method, path) for method, path in known if method != "*"}
    assert known == OPEN | ADMIN | set(SCOPES)


async def test_nothing_but_what_is_open_answers_strangers(caller: Caller) -> None:
    expired, _ = await caller.make_token(*Scope, services=[], expires_in_s=1)
    revoked, token_id = await caller.make_token(*Scope, services=[])
    assert await caller.status("DELETE", f"/v1/tokens/{token_id}", ADMIN_TOKEN) == 204

    async def is_over() -> bool:
        return await caller.status("GET", "/v1/services", expired) == 401

    await wait_until(is_over, "the token's time is over")
    wanted = [(method, _path(path)) for method, path in ADMIN | set(SCOPES)]
    wanted += [(method, f"/api/predict/{path}") for method, path in EAS]
    for token in (None, "", "Bearer ", "wrong", expired, revoked, revoked[:-1], f"{TOKEN}x"):
        for method, path in wanted:
            status = await caller.status(method, path, token)
            assert status == 401, (method, path, token)
    for method, path in OPEN:
        assert await caller.status(method, _path(path), None) in (200, 503), path


@pytest.mark.leaves_entries
# `all` says for whose jobs, and is nothing by itself.
@pytest.mark.parametrize("scope", [scope for scope in Scope if scope is not Scope.ALL])
async def test_a_token_opens_what_its_scope_is_for_and_nothing_else(
    caller: Caller, scope: Scope
) -> None:
    for services in (["svc"], ["other"], []):
        token, _ = await caller.make_token(scope, services=services)
        here = services != ["other"]
        opened: list[tuple[str, str, bool]] = [
            # The end of a stream is everybody's: it needs `all` as well.
            (method, f"/api/predict/{path}", scope in scopes and here and "_eos_" not in path)
            for (method, path), scopes in EAS.items()
            if "_watch_" not in path or scope not in scopes or not here
        ]
        opened += [
            (method, _path(path), scope in scopes and here)
            for (method, path), scopes in SCOPES.items()
            if not path.startswith("/v1/models")
        ]
        is_operator = scope is Scope.ADMIN and not services
        # What an operator does here to the service itself is tried elsewhere.
        opened += [
            (method, _path(path), is_operator)
            for method, path in sorted(ADMIN)
            if not is_operator or path.startswith((_DEAD, "/v1/tokens", "/metrics"))
        ]
        for method, path, allowed in opened:
            status = await caller.status(method, path, token, "" if allowed else "hello")
            refused = status in (401, 403)
            assert refused is not allowed, (method, path, services, status)
        shown = await caller.status("GET", "/v1/models/svc", token)
        assert (shown == 200) is (scope is Scope.SUBMIT and here)
