"""Inputs by annotation: for each its schema, a valid and an invalid input, what is received."""

import asyncio
import base64
import io
import json
import os
import wave
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from client_sdk.wire.greeting import MAX_INTERFACE_BYTES
from inference_worker.engines.engine import Failed, Finished
from inference_worker.engines.file_kinds import FILE_PREFIX
from inference_worker.engines.interface import encoded_interface
from tests.inference_worker.written_handlers import Written, load, read

IMPORTS = """\
import dataclasses, enum, pathlib, typing
from typing import *
import numpy
import typing_extensions
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, FilePath
from penstock.worker import Audio, Context, File, SampleRate

class Size(BaseModel):
    width: int = Field(ge=1, le=4096)
    tags: list[str] = []

class Pair(TypedDict):
    left: int
    right: NotRequired[str]

@dataclasses.dataclass
class Point:
    x: float
    y: float = 0.0

class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"

class Nested(BaseModel):
    picture: pathlib.Path = Field(alias="pic")
    parts: list["Nested"] = []
"""


def png() -> bytes:
    written = io.BytesIO()
    Image.new("RGB", (3, 4), "red").save(written, "PNG")
    return written.getvalue()


def wav(rate: int = 16_000, *, channels: int = 1, width: int = 2) -> bytes:
    """A tenth of a second of silence."""
    written = io.BytesIO()
    with wave.open(written, "wb") as sound:
        sound.setparams((channels, width, rate, 0, "NONE", ""))
        sound.writeframes(bytes(rate // 10 * channels * width))
    return written.getvalue()


def url_of(data: bytes, kind: str = "application/octet-stream") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


TEXT_URL = url_of(b"hello", "text/plain")
NO_FILE = "expected a file as a data URL (data:image/png;base64,...), not a path or an address"
BINARY = {"type": "string", "format": "binary", "pattern": "^[dD][aA][tT][aA]:"}

#: annotation, its schema, a valid value, what the handler receives (its repr), an invalid value,
#: what the error says after the path.
TABLE: list[tuple[str, dict[str, Any], Any, str, Any, str]] = [
    ("int", {"type": "integer"}, 3, "3", "x", ": expected an integer, got 'x'"),
    ("float", {"type": "number"}, 3, "3.0", [], ": expected a number, got a list of 0"),
    ("bool", {"type": "boolean"}, True, "True", 3, ": expected a boolean, got 3"),
    ("str", {"type": "string"}, "a", "'a'", 3, ": expected a string, got 3"),
    ("list[int]", {"type": "array", "items": {"type": "integer"}}, [1], "[1]", [1, "b"],
     "/1: expected an integer, got 'b'"),
    ("dict[str, float]", {"type": "object", "additionalProperties": {"type": "number"}},
     {"a": 1}, "{'a': 1.0}", {"a~b/c": "x"}, "/a~0b~1c: expected a number, got 'x'"),
    ("Optional[int]", {"anyOf": [{"type": "integer"}, {"type": "null"}]}, None, "None", "x",
     ": expected an integer, got 'x'"),
    ("int | str | None", {"anyOf": [{"type": "integer"}, {"type": "string"}, {"type": "null"}]},
     "7", "'7'", [], ": expected an integer or a string, got a list of 0"),
    ("Literal['s', 'm']", {"type": "string", "enum": ["s", "m"]}, "m", "'m'", "q",
     ": expected 's' or 'm', got 'q'"),
    ("Color", {"type": "string", "enum": ["red", "blue"], "title": "Color"}, "red",
     "<Color.RED: 'red'>", "green", ": expected 'red' or 'blue', got 'green'"),
    ("Annotated[int, Field(ge=1, le=9, description='How many.')]",
     {"type": "integer", "minimum": 1, "maximum": 9, "description": "How many."}, 9, "9", 0,
     ": expected a value greater than or equal to 1, got 0"),
    ("Annotated[str, Field(max_length=3, pattern='^[a-z]+$')]",
     {"type": "string", "maxLength": 3, "pattern": "^[a-z]+$"}, "abc", "'abc'", "abcd",
     ": String should have at most 3 characters"),
    ("tuple[int, str]",
     {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "minItems": 2,
      "maxItems": 2}, [1, "a"], "(1, 'a')", [1], "/1: expected a value, got nothing"),
    ("Size",
     {"type": "object", "title": "Size", "required": ["width"], "properties": {
         "width": {"type": "integer", "minimum": 1, "maximum": 4096, "title": "Width"},
         "tags": {"type": "array", "items": {"type": "string"}, "default": [], "title": "Tags"}}},
     {"width": 5}, "Size(width=5, tags=[])", {"tags": [3]},
     "/width: expected a value, got nothing; /x/tags/0: expected a string, got 3"),
    ("Point",
     {"type": "object", "title": "Point", "required": ["x"], "properties": {
         "x": {"type": "number", "title": "X"},
         "y": {"type": "number", "default": 0.0, "title": "Y"}}},
     {"x": 1}, "Point(x=1.0, y=0.0)", 3, ": expected an object, got 3"),
    ("Pair",
     {"type": "object", "title": "Pair", "required": ["left"], "additionalProperties": True,
      "properties": {"left": {"type": "integer", "title": "Left"},
                     "right": {"type": "string", "title": "Right"}}},
     {"left": 1, "more": 2}, "{'left': 1, 'more': 2}", {"right": "r"},
     "/left: expected a value, got nothing"),
    ("pathlib.Path", BINARY, TEXT_URL, "received a file b'hello' .txt", "/etc/passwd",
     f": {NO_FILE}"),
    ("Optional[FilePath]", {"anyOf": [{**BINARY, "format": "file-path"}, {"type": "null"}]},
     TEXT_URL, "received a file b'hello' .txt", "http://127.0.0.1/", f": {NO_FILE}"),
    ("pathlib.Path | str", {"anyOf": [BINARY, {"type": "string"}]}, "/etc/passwd",
     "'/etc/passwd'", 3, f": {NO_FILE} or a string"),
    ("list[File]", {"type": "array", "items": BINARY}, [TEXT_URL],
     "[File(data=b'hello', media_type='text/plain', suffix='.txt')]", ["data:;base64,?"],
     "/0: expected a data URL, got one that is not base64"),
    ("bytes", BINARY, TEXT_URL, "b'hello'", "abc", f": {NO_FILE}"),
    ("BinaryIO", BINARY, TEXT_URL, "read b'hello'", None, f": {NO_FILE}"),
    ("Image.Image", {**BINARY, "contentMediaType": "image/*"}, url_of(png()), "a picture (3, 4)",
     TEXT_URL, ": expected an image (PNG, JPEG, WEBP, GIF, BMP, TIFF), got other bytes"),
    ("numpy.ndarray", {**BINARY, "contentMediaType": "audio/*"}, url_of(wav()),
     "samples float32 (1600,)", "beep", f": {NO_FILE}"),
    ("Annotated[numpy.ndarray, SampleRate(8000)]", {**BINARY, "contentMediaType": "audio/*"},
     url_of(wav(8000)), "samples float32 (800,)", "beep", f": {NO_FILE}"),
    ("Audio", {**BINARY, "contentMediaType": "audio/*"}, url_of(wav(8000, channels=2, width=3)),
     "8000 a second, (800,)", 3, f": {NO_FILE}"),
    ("Nested",
     {"$ref": "#/$defs/Nested"}, {"pic": TEXT_URL}, "nested b'hello'",
     {"pic": TEXT_URL, "parts": [{"pic": "/etc/passwd"}]}, f"/parts/0/pic: {NO_FILE}"),
]  # fmt: skip

SHOW = """
def shown(x):
    if isinstance(x, pathlib.Path): return f"received a file {x.read_bytes()} {x.suffix}"
    if isinstance(x, Image.Image): return f"a picture {x.size}"
    if isinstance(x, numpy.ndarray): return f"samples {x.dtype} {x.shape}"
    if isinstance(x, Audio): return f"{x.rate} a second, {x.samples.shape}"
    if isinstance(x, Nested): return f"nested {x.picture.read_bytes()}"
    return f"read {x.read()}" if hasattr(x, "read") else repr(x)
"""


async def written(folder: Path, body: str, name: str = "predict") -> Written:
    return await load(folder, "handler", name, IMPORTS + SHOW + body)


def interface_of(handler: Written) -> dict[str, Any]:
    described: dict[str, Any] = json.loads(handler.engine.interface)
    return described


def message(end: Finished | Failed) -> str:
    assert isinstance(end, Failed), end
    assert (end.code, end.retryable) == ("BadInput", False)
    return end.message


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row[0])
async def test_each_annotation(
    tmp_path: Path, row: tuple[str, dict[str, Any], Any, str, Any, str]
) -> None:
    annotation, schema, valid, received, invalid, error = row
    body = f"def predict(*, x: {annotation}, n: int = 1):\n    return shown(x)\n"
    handler = await written(tmp_path, body)
    described = interface_of(handler)["input"]["schema"]
    found = described["properties"]["x"]
    if found.get("$ref") and "$ref" not in schema:
        found = described["$defs"][found["$ref"].rpartition("/")[2]]
    assert found == schema
    end = await handler.end({"x": valid})
    assert isinstance(end, Finished), end
    assert end.output.decode() == received
    assert message(await handler.end({"x": invalid})) == f"/x{error}"
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
