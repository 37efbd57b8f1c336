"""The schemas that workers declare: what a put is refused for, on every API, and who says so."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from client_sdk import AsyncQueueClient, InvalidInput, WorkConnection
from client_sdk.wire.worker import Completion, Delivery, Result
from tests.conftest import Serve
from tests.running import TOKEN
from tests.waiting import wait_until

pytestmark = pytest.mark.leaves_entries

PAINTER: dict[str, Any] = {
    "input": {
        "content_types": ["application/json"],
        "schema": {
            "type": "object",
            "properties": {
                "prompt": {"type": "string"},
                "steps": {"type": "integer", "minimum": 1, "default": 20},
                "image": {"$ref": "#/$defs/Picture"},
            },
            "required": ["prompt"],
            "additionalProperties": False,
            "$defs": {"Picture": {"type": "string", "format": "binary"}},
        },
    },
    "output": {"content_types": ["application/json"], "schema": {"type": "object"}},
}
GOOD, BAD = b'{"prompt": "a cat"}', b'{"prompt": 3, "step": 1}'
SENTENCES = ("/prompt: expected a string, got 3", "/step: there is no such input")


def changed(**properties: Any) -> dict[str, Any]:
    schema = PAINTER["input"]["schema"]
    inputs = {**schema, "properties": {**schema["properties"], **properties}}
    return {**PAINTER, "input": {**PAINTER["input"], "schema": inputs}}


@asynccontextmanager
async def worker(url: str, interface: Any = None, **more: Any) -> AsyncIterator[WorkConnection]:
    encoded = b"" if interface is None else json.dumps(interface).encode()
    connection = WorkConnection(url, "svc", token=TOKEN, window=1, interface=encoded, **more)
    async with connection:
        await connection.wait_connected()
        yield connection


class Asker:
    """Puts through each API."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self.url = url

    async def ask(self, method: str, path: str, **more: Any) -> tuple[int, str]:
        async with self._session.request(method, self.url + path, **more) as answer:
            return answer.status, await answer.text()

    async def put(self, data: bytes = GOOD) -> tuple[int, str]:
        return await self.ask("POST", "/v1/services/svc/jobs", data=data)

    async def waiting(self) -> int:
        _, text = await self.ask("GET", "/api/predict/svc?_count_=true")
        return int(text)


@pytest.fixture
async def asker(serve: Serve) -> AsyncIterator[Asker]:
    url = await serve({"name": "svc"})
    async with aiohttp.ClientSession(headers={"Authorization": TOKEN}) as session:
        yield Asker(session, url)


async def test_each_api_refuses_an_input_before_it_waits(asker: Asker) -> None:
    async with worker(asker.url, PAINTER):
        status, text = await asker.put(BAD)
        problem = json.loads(text)
        assert (status, problem["code"]) == (422, "INVALID_INPUT")
        assert problem["errors"] == [
            {"path": "/prompt", "detail": "expected a string, got 3"},
            {"path": "/step", "detail": "there is no such input; did you mean steps?"},
        ]
        status, text = await asker.ask("PUT", "/v1/services/svc/jobs/mine", data=BAD)
        assert status == 422
        status, text = await asker.ask("POST", "/api/predict/svc", data=BAD)
        assert status == 422
        assert all(sentence in text for sentence in SENTENCES)
        lines = b'{"input": {"prompt": 3}}\n{"input": {"prompt": "a"}}\n'
        status, text = await asker.ask(
            "POST",
            "/v1/services/svc/jobs",
            data=lines,
            headers={"Content-Type": "application/x-ndjson"},
        )
        outcomes = [json.loads(line) for line in text.splitlines()]
        assert [one["status"] for one in outcomes] == [422, 202]
        assert outcomes[0]["problem"]["errors"][0]["path"] == "/prompt"
        asked = {"model": "svc", "prompt": 3, "messages": [{"role": "user", "content": "x"}]}
        status, text = await asker.ask("POST", "/v1/chat/completions", json=asked)
        error = json.loads(text)["error"]
        assert (status, error["code"], error["param"]) == (422, "INVALID_INPUT", "/prompt")
        # Only the valid line was put.
        assert await asker.waiting() == 1


async def test_the_client_raises_an_error_with_the_paths(asker: Asker) -> None:
    async with worker(asker.url, PAINTER), AsyncQueueClient(asker.url, "svc", token=TOKEN) as sdk:
        with pytest.raises(InvalidInput, match="/prompt: expected a string, got 3") as caught:
            await sdk.jobs.submit('{"prompt": 3}')
        assert caught.value.status == 422
        assert caught.value.fields["errors"] == [
            {"path": "/prompt", "detail": "expected a string, got 3"}
        ]


async def test_a_service_without_a_schema_takes_everything(asker: Asker) -> None:
    assert (await asker.put(BAD))[0] == 202
    async with worker(asker.url):
        assert (await asker.put(BAD))[0] == 202
    status, text = await asker.ask("GET", "/v1/services/svc/schema")
    assert (status, json.loads(text)["code"]) == (404, "NOT_FOUND")


async def test_a_rolling_change_accepts_what_any_connected_worker_accepts(asker: Asker) -> None:
    new = changed(seed={"type": "integer"})
    with_seed, old_only = b'{"prompt": "a", "seed": 1}', b'{"prompt": "a"}'
    newest = changed(seed={"type": "string"})
    async with worker(asker.url, PAINTER, uid="old"):
        assert (await asker.put(with_seed))[0] == 422
        async with worker(asker.url, new, uid="new"):
            # The ring has announced the new version to this process.
            await wait_until(lambda: _taken(asker, with_seed), "the new version counts")
            assert (await asker.put(old_only))[0] == 202
            assert (await asker.put(BAD))[0] == 422
            async with worker(asker.url, uid="untyped"):
                await wait_until(lambda: _taken(asker, BAD), "nothing is checked")
    # Without workers the version that connected last counts; this one replaces it.
    async with worker(asker.url, newest, uid="newest"):
        await wait_until(lambda: _refused(asker, with_seed), "only the newest counts")
        assert (await asker.put(b'{"prompt": "a", "seed": "x"}'))[0] == 202
    await wait_until(lambda: _refused(asker, with_seed), "it counts without a worker")


async def _taken(asker: Asker, data: bytes) -> bool:
    return (await asker.put(data))[0] == 202


async def _refused(asker: Asker, data: bytes) -> bool:
    return (await asker.put(data))[0] == 422


@pytest.mark.parametrize(
    "interface",
    [
        b"no json",
        b"[]",
        b"[" * 100_000,
        b'{"input": {"schema": {"$ref": "#"}}}',
        b'{"input": {"schema": {"$ref": "http://127.0.0.1:1/x"}}}',
        b'{"input": {"schema": {"type": "nonsense"}}}',
        b'{"input": 3}',
        b'{"input": {"schema": {}, "content_types": 3}}',
        b'{"input": {"schema": {"description": "' + b"x" * 300_000 + b'"}}}',
    ],
)
async def test_a_hostile_schema_checks_nothing_and_hurts_nobody(
    asker: Asker, interface: bytes
) -> None:
    connection = WorkConnection(asker.url, "svc", token=TOKEN, window=1, interface=interface)
    async with connection:
        await connection.wait_connected()
        assert (await asker.put(BAD))[0] == 202
        delivery = await anext(connection)
        assert isinstance(delivery, Delivery)
        await connection.complete(Completion(delivery.index, delivery.attempt, Result(b"1")))
        assert (await asker.ask("GET", "/v1/services/svc/schema"))[0] == 404


async def test_the_schema_is_published(asker: Asker) -> None:
    async with worker(asker.url, PAINTER):
        status, text = await asker.ask("GET", "/v1/services/svc/schema")
        schema = json.loads(text)
        assert status == 200
        assert schema["input"] == PAINTER["input"]
        assert schema["output"] == PAINTER["output"]
        assert schema["accepted"] == [schema["version"]]
        Draft202012Validator.check_schema(schema["input"]["schema"])
        etag = {"If-None-Match": f'"{schema["version"]}"'}
        assert (await asker.ask("GET", "/v1/services/svc/schema", headers=etag))[0] == 304
    # It stays when the worker has left, for clients that put while none runs.
    assert (await asker.ask("GET", "/v1/services/svc/schema"))[0] == 200


async def test_the_openapi_document_of_a_service_is_complete(asker: Asker) -> None:
    async with worker(asker.url, PAINTER) as connection:
        _, text = await asker.ask("GET", "/v1/services/svc/openapi.json")
        document = json.loads(text)
        assert list(OpenAPIV31SpecValidator(document).iter_errors()) == []
        assert "{service}" not in text
        path = next(path for path, item in document["paths"].items() if path.endswith("/jobs"))
        body = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]
        assert body == {"schema": {"$ref": "#/components/schemas/Input"}}
        inputs = document["components"]["schemas"]["Input"]
        assert inputs["properties"]["image"] == {"$ref": "#/components/schemas/InputPicture"}
        # A client made from the document submits a job, and reads its result.
        server = document["servers"][0]["url"]
        sent = {"prompt": "a cat", "steps": 3}
        Draft202012Validator({**inputs, "components": document["components"]}).validate(sent)
        async with aiohttp.ClientSession(headers={"Authorization": TOKEN}) as session:
            async with session.post(server + path, json=sent) as answer:
                assert answer.status == 202
                job_id = (await answer.json())["id"]
            delivery = await anext(connection)
            assert isinstance(delivery, Delivery)
            await connection.complete(Completion(delivery.index, delivery.attempt, Result(b"{}")))
            result = f"{path}/{{job}}/result".replace("{job}", job_id)
            async with session.get(f"{server}{result}?wait=10s") as answer:
                assert (answer.status, await answer.json()) == (200, {})


async def test_a_document_without_a_schema_is_valid_too(asker: Asker) -> None:
    _, text = await asker.ask("GET", "/v1/services/svc/openapi.json")
    assert list(OpenAPIV31SpecValidator(json.loads(text)).iter_errors()) == []
