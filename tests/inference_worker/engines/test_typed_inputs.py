"""Inputs by annotation: each row of the table, and what payloads without names become."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from client_sdk.wire.greeting import MAX_INTERFACE_BYTES
from inference_worker.engines.engine import Failed, Finished
from inference_worker.engines.file_kinds import FILE_PREFIX
from inference_worker.engines.interface import encoded_interface
from tests.inference_worker.engines.annotations import (
    IMPORTS,
    ROWS,
    SHOW,
    TEXT_URL,
    Row,
    png,
    url_of,
)
from tests.inference_worker.written_handlers import Written, load, read


async def written(folder: Path, body: str, name: str = "predict") -> Written:
    return await load(folder, "handler", name, IMPORTS + SHOW + body)


def interface_of(handler: Written) -> dict[str, Any]:
    described: dict[str, Any] = json.loads(handler.engine.interface)
    return described


def message(end: Finished | Failed) -> str:
    assert isinstance(end, Failed), end
    assert (end.code, end.retryable) == ("BadInput", False)
    return end.message


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.annotation)
async def test_each_annotation(tmp_path: Path, row: Row) -> None:
    body = f"def predict(*, x: {row.annotation}, n: int = 1):\n    return shown(x)\n"
    handler = await written(tmp_path, body)
    described = interface_of(handler)["input"]["schema"]
    found = described["properties"]["x"]
    if found.get("$ref") and "$ref" not in row.schema:
        found = described["$defs"][found["$ref"].rpartition("/")[2]]
    assert found == row.schema
    end = await handler.end({"x": row.valid})
    assert isinstance(end, Finished), end
    assert end.output.decode() == row.received
    error = row.worker_error or row.error
    assert message(await handler.end({"x": row.invalid})) == f"/x{error}"
    await handler.engine.stop(1.0)


async def test_a_file_of_a_job_is_removed_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    body = "def predict(a: pathlib.Path, b: int):\n    return a.name\n"
    handler = await written(tmp_path, body)
    end = await handler.end({"a": TEXT_URL, "b": 1})
    assert isinstance(end, Finished)
    assert end.output.decode().startswith(FILE_PREFIX)
    # Another input is wrong, so the handler is not called.
    message(await handler.end({"a": TEXT_URL, "b": "x"}))
    assert not [one for one in os.listdir(tmp_path) if one.startswith(FILE_PREFIX)]
    await handler.engine.stop(1.0)


BY_NAME = """
def predict(prompt: str, steps: Annotated[int, Field(ge=1)] = 20, own=None):
    return [prompt, steps, own]
"""


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"a cat", ["a cat", 20, None]),
        (b'"a cat"', ['"a cat"', 20, None]),
        (b'{"prompt": "a cat"}', ["a cat", 20, None]),
        (b'{"prompt": "a cat", "steps": 3}', ["a cat", 3, None]),
        (
            b'{"prompt": 3, "step": 0}',
            "/step: there is no such input; did you mean steps?; /prompt: expected a string, got 3",
        ),
        (b'{"steps": 1}', "/prompt: expected a value, got nothing"),
        (b"\xff", "expected UTF-8 text, got another byte at 0"),
    ],
)
async def test_inputs_by_name_or_the_first_alone(
    tmp_path: Path, payload: bytes, expected: Any
) -> None:
    handler = await written(tmp_path, BY_NAME)
    assert interface_of(handler)["input"]["content_types"] == ["application/json", "text/plain"]
    end = await handler.end(payload)
    assert (message(end) if isinstance(end, Failed) else read(end)) == expected
    await handler.engine.stop(1.0)


@pytest.mark.parametrize(
    ("source", "payload", "expected"),
    [
        # As it was before there were types.
        ("def predict(x): return x", b'{"a": 1}', b'{"a": 1}'),
        ("def predict(x: bytes): return x", b"\xff", b"\xff"),
        ("def predict(x: Any): return x", b"\xff", b"\xff"),
        ("def predict(x: str): return x", b'{"a": 1}', b'{"a": 1}'),
        ("def predict(x, options=3): return x", b"[1]", b"[1]"),
        ("def predict(x: str, ctx): return x + ctx.request_id", b"a ", b"a job-1"),
        ("def predict(x: str, about): return x + about.request_id", b"a ", b"a job-1"),
        ("def predict(x: str, c: Context): return x + c.request_id", b"a ", b"a job-1"),
        ("def predict(x: 'str', c: 'NotImported'): return x", b"a", b"a"),
        ("def predict(x: dict, many: int = 3): return [x, many]", b'{"many": 4}',
         b'[{"many": 4}, 3]'),
        ("class Own: pass\ndef predict(x: Own): return x", b"\xff", b"\xff"),
        # Types for one input.
        ("def predict(x: Size): return x.width", b'{"width": 4}', b"4"),
        ("def predict(x: Pair): return x", b'{"left": 1, "z": 2}', b'{"left": 1, "z": 2}'),
        ("def predict(x: pathlib.Path): return x.read_bytes()", b'{"a": 1}', b'{"a": 1}'),
        ("def predict(x: Image.Image): return x.size", png(), b"[3, 4]"),
        ("def predict(x: Image.Image): return x.size", json.dumps(url_of(png())).encode(),
         b"[3, 4]"),
        ("def predict(x: Image.Image, c: Context): return x.size",
         json.dumps({"x": url_of(png())}).encode(), b"[3, 4]"),
        ("class Own:\n  input_type = 'json'\n  def predict(self, x: Size): return x",
         b'{"width": 0}', b'{"width": 0}'),
        ("class Own:\n  def preprocess(self, x: Size): return x.width\n"
         "  def predict(self, x): return x + 1", b'{"width": 4}', b"5"),
        ("class Own:\n  async def preprocess(self, x: Size): return x.width\n"
         "  async def predict(self, x): return x + 1", b'{"width": 4}', b"5"),
        ("class Own:\n  def predict_batch(self, xs: list[Size]): return [x.width for x in xs]",
         b'{"width": 4}', b"4"),
        ("class Own:\n  def predict_batch(self, xs: list[Image.Image], ctxs):\n"
         "    return [x.size for x in xs]", png(), b"[3, 4]"),
        ("async def predict(x: list[Color]): return x[0].value", b'["red"]', b"red"),
        ("def predict(*, n: int): return n", b'{"n": 4}', b"4"),
        ("def predict(a: int = 1, b: int = 2): return a + b", b"", b"3"),
    ],
)  # fmt: skip
async def test_what_one_payload_becomes(
    tmp_path: Path, source: str, payload: bytes, expected: bytes
) -> None:
    name = "Own" if "class Own:\n" in source else "predict"
    handler = await written(tmp_path, source + "\n", name)
    end = await handler.end(payload)
    assert isinstance(end, Finished), end
    assert end.output == expected
    await handler.engine.stop(1.0)


@pytest.mark.parametrize(
    "source",
    [
        "def predict(x): return x",
        "def predict(x: bytes): return x",
        "class Own: pass\ndef predict(x: Own): return x",
        # It would read files in pydantic's own way.
        "class Own(BaseModel):\n  p: pathlib.Path\n  def __init__(self, **k): "
        "super().__init__(**k)\ndef predict(x: Own): return x",
    ],
)
async def test_what_declares_nothing_has_no_schema(tmp_path: Path, source: str) -> None:
    handler = await written(tmp_path, source + "\n")
    assert handler.engine.interface == b""
    await handler.engine.stop(1.0)


@pytest.mark.parametrize(
    ("returned", "output"),
    [
        ("Size", {"content_types": ["application/json"], "schema": {"$ref": "#/$defs/Size"}}),
        ("str", {"content_types": ["text/plain"]}),
        ("Iterator[int]", {"content_types": ["application/json"],
                           "schema": {"type": "array", "items": {"type": "integer"}}}),
        ("Image.Image", {"content_types": ["image/png"]}),
        ("Audio", {"content_types": ["audio/wav"]}),
        ("None", None),
    ],
)  # fmt: skip
async def test_the_result_is_declared_too(tmp_path: Path, returned: str, output: Any) -> None:
    handler = await written(tmp_path, f"def predict(x: int) -> {returned}: ...\n")
    described = interface_of(handler).get("output")
    if described and "schema" in described:
        described["schema"].pop("$defs", None)
    assert described == output
    await handler.engine.stop(1.0)


def test_a_schema_that_is_too_large_is_not_published() -> None:
    huge = {"schema": {"description": "x" * MAX_INTERFACE_BYTES}}
    assert encoded_interface(huge, {}) == b""


async def test_a_refused_input_does_not_stop_the_others(tmp_path: Path) -> None:
    body = "class Own:\n  def predict_batch(self, xs: list[Size]): return [x.width for x in xs]\n"
    handler = await written(tmp_path, body, "Own")
    good, bad = await asyncio.gather(
        *(handler.end(payload) for payload in ({"width": 1}, {"width": 0}))
    )
    assert read(good) == 1
    assert message(bad).startswith("/width: ")
    await handler.engine.stop(1.0)
