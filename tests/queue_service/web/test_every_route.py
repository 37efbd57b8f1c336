"""Who may ask for what: every route of every API, with every kind of token."""

import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import aiohttp
import pytest

from queue_service.app import build_app
from queue_service.service.access import Scope
from queue_service.settings.process import Settings
from queue_service.web.eas.routes import OPERATIONS
from queue_service.web.routes import TABLE
from queue_service.web.routing import OnBatches, OnFiles, OnService, OnSomeService, Operator, Public
from tests.conftest import Serve
from tests.running import ADMIN_TOKEN, TOKEN
from tests.waiting import wait_until

#: Open to everybody: they tell nothing that a stranger may not know.  The one list that is kept by
#: hand: a route does not become public by a change in a table alone.
OPEN = {
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/openapi.json"),
    ("GET", "/chat"),
    ("GET", "/chat/chat.css"),
    ("GET", "/chat/chat.js"),
    ("GET", "/chat/jobs.js"),
    ("GET", "/chat/conversation.js"),
    ("GET", "/chat/markdown.js"),
    ("GET", "/chat/pictures.js"),
    ("GET", "/chat/sentences.js"),
    ("GET", "/chat/turns.js"),
    ("GET", "/chat/base.css"),
    ("GET", "/chat/dom.js"),
    ("GET", "/chat/given_token.js"),
    ("GET", "/chat/event_stream.js"),
    ("GET", "/"),
    ("GET", "/console"),
    *(
        ("GET", f"/console/{name}")
        for name in (
            "controls.css",
            "frame.css",
            "pages.css",
            "tables.css",
            "theme.css",
            "api.js",
            "attention.js",
            "chart.js",
            "console.js",
            "create_page.js",
            "dialog.js",
            "form.js",
            "format.js",
            "headings.js",
            "job_page.js",
            "jobs_page.js",
            "letter_page.js",
            "letters_page.js",
            "live.js",
            "log_panel.js",
            "overview_page.js",
            "parts.js",
            "router.js",
            "scaling_page.js",
            "service_actions.js",
            "service_page.js",
            "session.js",
            "settings_form.js",
            "settings_page.js",
            "table.js",
            "timeline.js",
            "tokens_page.js",
            "webhook_page.js",
            "webhooks_page.js",
            "workers_table.js",
        )
    ),
    ("GET", "/try"),
    ("GET", "/try/{service}"),
    ("GET", "/try-page/try.css"),
    *(
        ("GET", f"/try-page/{name}.js")
        for name in (
            "fields",
            "files",
            "form",
            "output",
            "result",
            "run",
            "schema",
            "snippets",
            "try",
        )
    ),
    ("GET", "/api/v1/servicediscovery/upstreams/{service}"),
}
_DEAD = "/v1/services/{service}/dead-letters"
#: Which scopes a token needs, one of them, by the tables.
SCOPES: dict[tuple[str, str], set[Scope]] = {
    (route.method, route.documented_path): set(route.needs.any_of)
    for route in TABLE
    if isinstance(route.needs, OnBatches | OnFiles | OnService | OnSomeService)
}
#: The operators': the admin token, or one with that scope for every service.
ADMIN = {
    (route.method, route.documented_path) for route in TABLE if isinstance(route.needs, Operator)
}
_MEDIA: dict[tuple[str, str], set[Scope]] = {
    ("POST", "/v1/images/generations"): {Scope.SUBMIT},
    ("POST", "/v1/images/edits"): {Scope.SUBMIT},
    ("POST", "/v1/audio/transcriptions"): {Scope.SUBMIT},
    ("POST", "/v1/audio/translations"): {Scope.SUBMIT},
    ("POST", "/v1/audio/speech"): {Scope.SUBMIT},
    ("POST", "/v1/videos"): {Scope.SUBMIT},
    ("GET", "/v1/videos"): {Scope.SUBMIT, Scope.READ},
    ("GET", "/v1/videos/{video}"): {Scope.SUBMIT, Scope.READ},
    ("DELETE", "/v1/videos/{video}"): {Scope.SUBMIT},
    ("GET", "/v1/videos/{video}/content"): {Scope.SUBMIT, Scope.READ},
    ("POST", "/v1/videos/{video}/remix"): {Scope.SUBMIT},
}
_FILES: dict[tuple[str, str], set[Scope]] = {
    ("POST", "/v1/files"): {Scope.SUBMIT},
    ("POST", "/v1/files/uploads"): {Scope.SUBMIT},
    ("GET", "/v1/files/uploads/{file}"): {Scope.SUBMIT},
    ("PATCH", "/v1/files/uploads/{file}"): {Scope.SUBMIT},
    ("DELETE", "/v1/files/uploads/{file}"): {Scope.SUBMIT},
    ("POST", "/v1/files/uploads/{file}/complete"): {Scope.SUBMIT},
    ("GET", "/v1/files"): {Scope.SUBMIT, Scope.READ},
    ("GET", "/v1/files/{file}"): {Scope.SUBMIT, Scope.READ},
    ("GET", "/v1/files/{file}/content"): {Scope.SUBMIT, Scope.READ},
    ("DELETE", "/v1/files/{file}"): {Scope.SUBMIT},
}
_OVERVIEW: dict[tuple[str, str], set[Scope]] = {
    ("GET", path): {Scope.READ, Scope.ADMIN}
    for path in (
        "/v1/overview",
        "/v1/overview/events",
        "/v1/services/{service}/overview",
        "/v1/services/{service}/activity",
    )
}
_USAGE: dict[tuple[str, str], set[Scope]] = {
    ("GET", "/v1/usage"): {Scope.SUBMIT, Scope.READ, Scope.ADMIN}
}
#: What an operation of the EAS protocol needs beside the parameter that selects it.
_QUERIES = {
    "end_stream": "_eos_=false",
    "search": "_search_=true&_index_=1",
    "reject": "_negative_=true&_indexes_=1",
    "commit": "_indexes_=1",
    "truncate": "_trunc_=true&_index_=0",
    "delete": "_indexes_=1",
}


def _eas() -> Iterator[tuple[tuple[str, str], set[Scope]]]:
    for row in OPERATIONS:
        query = _QUERIES.get(row.name) or (f"{row.parameter}=true" if row.parameter else "")
        for path, scopes in (("svc", row.on_input), ("svc/sink", row.on_sink)):
            for method in row.methods:
                yield (method, f"{path}?{query}"), set(scopes)


#: The EAS API has one path for each queue; the operation is in method and query.
EAS = dict(_eas())
_NAMES = {"{service}": "svc", "{model}": "svc", "{job}": "no-job", "{id}": "999", "{token}": "x"}
_NAMES |= {"{file}": "no-file", "{batch}": "no-batch", "{name}": "no-hook"}
_NAMES |= {"{video}": "video_01234567-89ab-4def-a123-456789abcdef_svc"}
_OF_OWNERS_ALONE = {"GET": ("/v1/videos",), "POST": ("/v1/videos/{video}/remix",)}
_OF_OWNERS = ("/v1/files", "/v1/batches", "/v1/overview", "/v1/usage")
_OPENAI = re.compile("/v1/(chat/completions|completions|embeddings|images/|audio/|videos$)")


def _is_of_owners(method: str, path: str) -> bool:
    return path.startswith(_OF_OWNERS) or path in _OF_OWNERS_ALONE.get(method, ())


@dataclass
class Caller:
    """Asks with one token after the other."""

    session: aiohttp.ClientSession
    url: str

    async def status(self, method: str, path: str, token: str | None, said: str = "") -> int:
        headers = {} if token is None else {"Authorization": token}
        # Nothing to answer, and of what is refused something that would be.
        asked = {name: said for name in ("messages", "prompt", "input", "file")}
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


def test_only_these_routes_are_public() -> None:
    public = {
        (route.method, route.documented_path)
        for route in TABLE
        if not route.needs.any_of or isinstance(route.needs, Public)
    }
    assert public == OPEN
    assert all(row.on_input and row.on_sink for row in OPERATIONS)


#: What the service's own token and operators may do with webhooks.
WEBHOOKS = {
    (method, f"/v1/services/{{service}}/webhooks{path}")
    for method, path in (
        ("GET", ""),
        ("GET", "/{name}"),
        ("PUT", "/{name}"),
        ("DELETE", "/{name}"),
        ("POST", "/{name}/rotate"),
        ("POST", "/{name}/redeliver"),
        ("GET", "/{name}/deliveries"),
        ("POST", "/{name}/deliveries/{id}/redeliver"),
    )
}


def test_the_scopes_are_those_of_the_protocol() -> None:
    """Kept by hand, like "Who may do what" in PROTOCOL.md: a table alone must not widen a scope."""
    jobs = "/v1/services/{service}/jobs"
    expected: dict[tuple[str, str], set[Scope]] = {
        **(_MEDIA | _USAGE),
        ("POST", jobs): {Scope.SUBMIT},
        ("PUT", f"{jobs}/{{job}}"): {Scope.SUBMIT},
        ("GET", jobs): {Scope.READ},
        ("GET", f"{jobs}/{{job}}"): {Scope.SUBMIT, Scope.READ},
        **_OVERVIEW,
        **_FILES,
        ("GET", f"{jobs}/{{job}}/result"): {Scope.READ},
        ("GET", f"{jobs}/{{job}}/events"): {Scope.READ},
        ("GET", f"{jobs}/{{job}}/logs"): {Scope.READ},
        ("GET", f"{jobs}/{{job}}/artifacts"): {Scope.READ},
        ("GET", f"{jobs}/{{job}}/artifacts/{{artifact}}"): {Scope.READ},
        ("POST", f"{jobs}/{{job}}/cancel"): {Scope.CANCEL},
        ("DELETE", f"{jobs}/{{job}}"): {Scope.CANCEL, Scope.READ},
        ("GET", "/v1/services/{service}/work"): {Scope.WORK},
        ("POST", "/v1/services/{service}/work/files"): {Scope.WORK},
        ("GET", "/v1/services/{service}/work/files/{file}/content"): {Scope.WORK},
        ("POST", "/v1/services/{service}/work/files/uploads"): {Scope.WORK},
        ("POST", "/v1/services/{service}/work/files/{file}/complete"): {Scope.WORK},
        ("GET", "/v1/services/{service}/workers"): {Scope.WORK},
        ("GET", "/v1/services/{service}/scale"): {Scope.READ, Scope.ADMIN},
        ("GET", "/v1/services/{service}/autoscaler"): {Scope.READ, Scope.ADMIN},
        ("GET", "/v1/services/{service}/cronscaler"): {Scope.READ, Scope.ADMIN},
        ("GET", "/v1/services/{service}/schema"): {Scope.SUBMIT, Scope.READ},
        ("GET", "/v1/services/{service}/openapi.json"): {Scope.SUBMIT, Scope.READ},
        ("GET", "/v1/models/{model}"): {Scope.SUBMIT},
        ("GET", "/v1/models"): {Scope.SUBMIT},
        ("POST", "/v1/chat/completions"): {Scope.SUBMIT},
        ("POST", "/v1/completions"): {Scope.SUBMIT},
        ("POST", "/v1/embeddings"): {Scope.SUBMIT},
        ("POST", "/v1/batches"): {Scope.SUBMIT},
        ("GET", "/v1/batches"): {Scope.SUBMIT, Scope.READ},
        ("GET", "/v1/batches/{batch}"): {Scope.SUBMIT, Scope.READ},
        ("GET", "/v1/batches/{batch}/output"): {Scope.SUBMIT, Scope.READ},
        ("GET", "/v1/batches/{batch}/errors"): {Scope.SUBMIT, Scope.READ},
        ("POST", "/v1/batches/{batch}/cancel"): {Scope.SUBMIT, Scope.CANCEL},
    }
    expected |= {row: {Scope.ADMIN} for row in WEBHOOKS}
    assert expected == SCOPES
    on_input = {
        "put": Scope.SUBMIT,
        "end_stream": Scope.CANCEL,
        "delete": Scope.CANCEL,
        "truncate": Scope.CANCEL,
    }
    for row in OPERATIONS:
        if row.name in ("attributes", "search", "count"):
            assert set(row.on_input) == set(row.on_sink) == set(Scope)
        else:
            assert row.on_input == (on_input.get(row.name, Scope.WORK),), row.name
            assert row.on_sink == (Scope.WORK if row.name == "put" else Scope.READ,), row.name


def test_the_application_serves_what_the_tables_have_and_nothing_else() -> None:
    app = build_app(Settings())
    served = {
        (route.method, (route.resource or route).canonical)  # type: ignore[union-attr]
        for route in app.router.routes()
    }
    # A GET is served for HEAD as well.
    tables = {(route.method, route.documented_path) for route in TABLE}
    tables |= {("HEAD", path) for method, path in tables if method == "GET"}
    # The queues, and the answer for everything else.
    assert served == tables | {("*", "/api/predict"), ("*", "/{path}")}


async def test_a_stranger_does_not_learn_from_a_bad_parameter_that_a_service_exists(
    caller: Caller,
) -> None:
    for row in OPERATIONS:
        for service in ("svc", "none"):
            path = f"/api/predict/{service}?{row.parameter or '_attrs_'}=maybe"
            for method in row.methods:
                assert await caller.status(method, path, "wrong") == 401, (method, path)


async def test_nothing_but_what_is_open_answers_strangers(caller: Caller) -> None:
    expired, _ = await caller.make_token(*Scope, services=[], expires_in_s=1)
    revoked, token_id = await caller.make_token(*Scope, services=[])
    assert await caller.status("DELETE", f"/v1/tokens/{token_id}", ADMIN_TOKEN) == 204

    async def is_over() -> bool:
        return await caller.status("GET", "/v1/services", expired) == 401

    await wait_until(is_over, "the token has expired")
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
            # Files, batches and the overview are of no service.
            (method, _path(path), scope in scopes and (here or _is_of_owners(method, path)))
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
