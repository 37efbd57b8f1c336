"""The published document is OpenAPI 3.1, knows every route of the API, and fits its responses."""

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from queue_service.web.jobs.openapi import document
from queue_service.web.jobs.routes import API
from queue_service.web.routes import TABLE
from tests.conftest import StartWorker
from tests.queue_service.web.jobs.api import Answer, JobsApi

pytestmark = pytest.mark.leaves_entries

DOCUMENT = document(TABLE)
METHODS = {"get", "put", "post", "delete"}


def test_the_document_is_valid() -> None:
    assert list(OpenAPIV31SpecValidator(DOCUMENT).iter_errors()) == []


def test_every_route_is_in_the_document_and_the_other_way_round() -> None:
    described = {
        (path, method) for path, item in DOCUMENT["paths"].items() for method in METHODS & set(item)
    }
    served = {(route.documented_path, route.method.lower()) for route in API.routes}
    public = {(path, "get") for path in ("/healthz", "/readyz", "/openapi.json")}
    assert described == served | public


def test_every_operation_says_which_scopes_it_needs() -> None:
    """The scopes of a token are alternatives: any one of them is enough."""
    told = {
        (path, method): [one["token"] for one in item[method]["security"]]
        for path, item in DOCUMENT["paths"].items()
        for method in METHODS & set(item)
    }
    jobs = "/v1/services/{service}/jobs"
    assert told["/healthz", "get"] == []
    assert told[jobs, "post"] == [["submit"]]
    assert told[f"{jobs}/{{job}}", "delete"] == [["cancel"], ["read"]]
    assert told == {
        (path, method): [[str(scope)] for scope in route.needs.any_of]
        for route in TABLE
        if (path := route.documented_path, method := route.method.lower()) in told
    }


def test_every_operation_that_finds_jobs_has_an_owner_parameter() -> None:
    for path, item in DOCUMENT["paths"].items():
        if "/jobs" not in path:
            continue
        for method in METHODS & set(item):
            told = {one["name"] for one in item[method]["parameters"]}
            puts = method == "put" or (method == "post" and path.endswith("/jobs"))
            assert ("owner" in told) != puts, (path, method)


def check(answer: Answer, path: str, method: str) -> None:
    """Hold an answer against what the document says about it."""
    published = DOCUMENT
    responses = published["paths"][f"/v1/services/{{service}}/jobs{path}"][method]["responses"]
    assert str(answer.status) in responses, answer
    content: dict[str, Any] = responses[str(answer.status)].get("content", {})
    for name in responses[str(answer.status)].get("headers", {}):
        assert name.lower() in answer.headers, (name, answer)
    if not answer.body:
        return
    kind = answer.headers["content-type"].partition(";")[0]
    assert kind in content or "*/*" in content, (kind, content)
    schema = content.get(kind, {}).get("schema", {}) if "json" in kind else {}
    whole = {**schema, "components": published["components"]}
    lines = answer.body.splitlines() if kind == "application/x-ndjson" else [answer.body]
    for line in lines:
        told = Answer(answer.status, {}, line).json if schema else None
        if schema:
            errors = [error.message for error in Draft202012Validator(whole).iter_errors(told)]
            assert errors == []


async def test_answers_are_as_the_document_says(api: JobsApi, start_worker: StartWorker) -> None:
    async def call(method: str, where: str, path: str, **more: Any) -> Answer:
        answer = await api.call(method.upper(), where, **more)
        check(answer, path, method)
        return answer

    await call("put", "/one", "/{job}", data=b"x", params={"finish_by": "1h"})
    await call("put", "/one", "/{job}", data=b"y")
    await call("put", "/two", "/{job}", data=b"x", params={"not_before": "1h"})
    await call("post", "", "", data=b"x", params={"priority": "x"})
    await call("post", "", "", data=b"x" * 20_000)
    ndjson = {"Content-Type": "application/x-ndjson"}
    await call("post", "", "", data=b'{"input": 1}\nnothing', headers=ndjson)
    await call("get", "/one", "/{job}")
    described = set(DOCUMENT["components"]["schemas"]["Job"]["properties"])
    assert set((await call("get", "/one", "/{job}")).json) == described
    await call("get", "/none", "/{job}")
    await call("get", "/one/result", "/{job}/result")
    await call("get", "", "", params={"limit": "2"})
    await call("get", "", "", params={"state": "tired"})
    await call("post", "/two/cancel", "/{job}/cancel")
    await call("post", "/none/cancel", "/{job}/cancel")
    await call("get", "/two/result", "/{job}/result")
    await start_worker(api.url, api.service)
    await call("get", "/one/result", "/{job}/result", params={"wait": "20s"})
    await call("post", "/one/cancel", "/{job}/cancel")
    await call("get", "/one", "/{job}")
    await call("get", "/one/events", "/{job}/events")
    await call("get", "/one/events", "/{job}/events", headers={"Last-Event-ID": "x"})
    await call("delete", "/one", "/{job}")
    await call("post", "", "", data=b"x", headers={"Authorization": "wrong"})


async def test_a_failed_attempt_is_as_the_document_says(
    api: JobsApi, start_worker: StartWorker
) -> None:
    await start_worker(
        api.url,
        api.service,
        engine="handler:tests.queue_service.web.jobs.failing_handler:Handler",
    )
    kinds = {"oom": 1, "bad": 1, "done": 0}
    schema = {"$ref": "#/components/schemas/FailedAttempt", "components": DOCUMENT["components"]}
    for kind, failures in kinds.items():
        job_id = await api.submit(kind.encode())
        told = [event async for event in api.events(job_id)]
        failed = [event.data for event in told if event.kind == "failed"]
        assert len(failed) == failures, told
        for one in failed:
            assert list(Draft202012Validator(schema).iter_errors(one)) == []
            assert set(one) == set(DOCUMENT["components"]["schemas"]["FailedAttempt"]["properties"])


def test_the_document_explains_what_it_says_of_retries() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    (retry,) = (
        one for one in schemas["Job"]["properties"]["retry"]["oneOf"] if "properties" in one
    )
    for one in (retry, schemas["FailedAttempt"]):
        assert all(field["description"] for field in one["properties"].values())
    names = {"max_attempts", "retry_pause", "retry_factor", "retry_longest_pause", "retry_jitter"}
    assert names <= schemas["Line"]["properties"].keys()


async def test_the_document_is_open_to_everybody(api: JobsApi) -> None:
    async with api.session.get(f"{api.url}/openapi.json", headers={"Authorization": ""}) as answer:
        assert answer.status == 200
        published = await answer.json()
        assert published.pop("servers") == [{"url": api.url}]
        assert published == DOCUMENT


def test_programs_that_write_clients_find_bodies_that_they_know() -> None:
    text = json.dumps(DOCUMENT)
    assert "*/*" not in text
    for path, method in (("", "post"), ("/{job}", "put")):
        body = DOCUMENT["paths"][f"/v1/services/{{service}}/jobs{path}"][method]["requestBody"]
        assert {"application/json", "application/octet-stream"} <= body["content"].keys()
