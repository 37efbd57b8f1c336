"""Forms as inputs of jobs, and results with content types: `curl -F image=@cat.jpg .../jobs`."""

import base64
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from PIL import Image

from client_sdk import WorkConnection
from client_sdk.wire.worker import Completion, Delivery, Result
from tests.conftest import Serve, StartWorker
from tests.queue_service.web.test_declared_inputs import worker
from tests.running import TOKEN, QueueServiceProcess
from tests.waiting import wait_until

pytestmark = pytest.mark.leaves_entries

FILE = {"type": "string", "format": "binary", "pattern": "^[dD][aA][tT][aA]:"}
PAINTER: dict[str, Any] = {
    "input": {
        "content_types": ["application/json"],
        "schema": {
            "type": "object",
            "properties": {
                "prompt": {"type": "string"},
                "image": {"anyOf": [{"$ref": "#/$defs/File"}, {"type": "null"}]},
                "steps": {"type": "integer"},
                "scale": {"anyOf": [{"type": "number"}, {"type": "null"}]},
                "hq": {"type": "boolean"},
                "seeds": {"type": "array", "items": {"type": "integer"}},
                "files": {"type": "array", "items": {"$ref": "#/$defs/File"}},
                "size": {"enum": [512, 1024]},
                "more": {"type": "object"},
            },
            "required": ["prompt"],
            "additionalProperties": False,
            "$defs": {"File": FILE},
        },
    }
}
HANDLER = "handler:tests.queue_service.web.painter:Painter"


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(headers={"Authorization": TOKEN}) as opened:
        yield opened


def form_of(*fields: tuple[str, Any], **files: bytes) -> aiohttp.FormData:
    form = aiohttp.FormData(default_to_multipart=True)
    for name, value in fields:
        form.add_field(name, value)
    for name, content in files.items():
        form.add_field(name, content, filename=f"{name}.jpg", content_type="image/jpeg")
    return form


async def payload_of(connection: WorkConnection) -> Any:
    delivery = await anext(connection)
    assert isinstance(delivery, Delivery)
    await connection.complete(Completion(delivery.index, delivery.attempt, None))
    assert delivery.content_type == "application/json"
    return json.loads(delivery.data)


async def test_fields_become_what_the_schema_wants(
    serve: Serve, session: aiohttp.ClientSession
) -> None:
    url = await serve({"name": "svc"})
    async with worker(url, PAINTER) as connection:
        form = form_of(
            ("prompt", "30 cats"),
            ("steps", "30"),
            ("scale", "7.5"),
            ("hq", "on"),
            ("seeds", "1"),
            ("seeds", "2"),
            ("size", "512"),
            ("more", '{"a": [1]}'),
            image=b"\x00\r\n--x\xff",
            files=b"f",
        )
        async with session.post(f"{url}/v1/services/svc/jobs", data=form) as answer:
            assert answer.status == 202, await answer.text()
        encoded = base64.b64encode(b"\x00\r\n--x\xff").decode()
        assert await payload_of(connection) == {
            "prompt": "30 cats",
            "steps": 30,
            "scale": 7.5,
            "hq": True,
            "seeds": [1, 2],
            "size": 512,
            "more": {"a": [1]},
            "image": f"data:image/jpeg;name=image.jpg;base64,{encoded}",
            "files": ["data:image/jpeg;name=files.jpg;base64,Zg=="],
        }


@pytest.mark.parametrize(
    ("form", "path"),
    [
        (form_of(("prompt", "x"), ("steps", "many")), "/steps"),
        (form_of(("steps", "3")), "/prompt"),
        (form_of(("prompt", "x"), ("other", "3")), "/other"),
        (form_of(("prompt", "x"), ("image", "/etc/passwd")), "/image"),
        (form_of(("prompt", "x"), ("hq", "perhaps")), "/hq"),
    ],
)
async def test_a_field_that_does_not_fit_is_refused_with_its_path(
    serve: Serve, session: aiohttp.ClientSession, form: aiohttp.FormData, path: str
) -> None:
    url = await serve({"name": "svc"})
    async with (
        worker(url, PAINTER),
        session.post(f"{url}/v1/services/svc/jobs", data=form) as answer,
    ):
        problem = await answer.json(content_type=None)
        assert (answer.status, problem["errors"][0]["path"]) == (422, path)


async def test_a_form_that_is_too_large_or_broken_says_so(
    serve: Serve, session: aiohttp.ClientSession
) -> None:
    url = await serve({"name": "svc", "input": {"max_payload_size_kb": 8}})
    jobs = f"{url}/v1/services/svc/jobs"
    kind = {"Content-Type": "multipart/form-data; boundary=b"}
    async with worker(url, PAINTER):
        large = form_of(("prompt", "x"), image=b"x" * 7000)
        async with session.post(jobs, data=large) as answer:
            problem = await answer.json(content_type=None)
            # The form would fit, and the data URL in it does not.
            assert (answer.status, problem["limit_bytes"]) == (413, 8192)
        async with session.post(jobs, data=b"no form", headers=kind) as answer:
            assert answer.status == 400, await answer.text()
            assert "expected a form" in await answer.text()


async def test_without_a_schema_a_form_is_a_payload(
    serve: Serve, session: aiohttp.ClientSession
) -> None:
    url = await serve({"name": "svc"})
    async with worker(url) as connection:
        async with session.post(f"{url}/v1/services/svc/jobs", data=form_of(("a", "b"))) as answer:
            assert answer.status == 202
        delivery = await anext(connection)
        assert isinstance(delivery, Delivery)
        assert delivery.content_type.startswith("multipart/form-data")
        assert b'name="a"' in delivery.data
        await connection.complete(Completion(delivery.index, delivery.attempt, None))


@pytest.mark.parametrize(
    ("tag", "kind", "disposition"),
    [
        ("image/png", "image/png", "inline"),
        ("image/svg+xml", "image/svg+xml", "attachment"),
        ("text/html; charset=utf-8", "text/html", "attachment"),
        ("x\r\nSet-Cookie: a", "text/plain", None),
        ("", "text/plain", None),
    ],
)
async def test_a_result_has_its_type_and_never_runs(
    serve: Serve, session: aiohttp.ClientSession, tag: str, kind: str, disposition: str | None
) -> None:
    url = await serve({"name": "svc"})
    async with worker(url) as connection:
        jobs = f"{url}/v1/services/svc/jobs"
        async with session.post(jobs, data=b"x") as answer:
            job = await answer.json()
        delivery = await anext(connection)
        assert isinstance(delivery, Delivery)
        result = Result(b"<script>", {"_content_type_": tag})
        await connection.complete(Completion(delivery.index, delivery.attempt, result))
        async with session.get(f"{jobs}/{job['id']}/result") as answer:
            assert answer.status == 200
            assert answer.content_type == kind
            assert answer.headers.get("Content-Disposition") == disposition
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Content-Security-Policy"] == "default-src 'none'; sandbox"


async def test_a_picture_goes_in_as_a_form_and_comes_out_as_a_png(
    service: QueueServiceProcess, session: aiohttp.ClientSession, start_worker: StartWorker
) -> None:
    url = service.url
    await start_worker(url, engine=HANDLER)

    async def is_declared() -> bool:
        async with session.get(f"{url}/v1/services/svc/schema") as answer:
            return answer.status == 200

    await wait_until(is_declared, "the worker has sent its schema")
    written = io.BytesIO()
    Image.new("RGB", (4, 3), "red").save(written, "JPEG")
    form = form_of(("angle", "90"), image=written.getvalue())
    jobs = f"{url}/v1/services/svc/jobs"
    async with session.post(f"{jobs}?wait=20s", data=form) as answer:
        body = await answer.read()
        assert (answer.status, answer.content_type) == (200, "image/png"), body
        with Image.open(io.BytesIO(body)) as image:
            assert image.size == (3, 4)
    async with session.post(jobs, data=form_of(("angle", "x"))) as answer:
        problem = await answer.json(content_type=None)
        assert {one["path"] for one in problem["errors"]} == {"/image", "/angle"}
