"""Every annotation of a handler: its schema, a valid and an invalid input, what is received.

The tests of the worker and of the service check each row, and `make docs` writes the table of
docs/typed-handlers.md from it.
"""

import base64
import io
import wave
from dataclasses import dataclass
from typing import Any

from PIL import Image

#: The types of the rows, as the page shows them.
TYPES = """\
UserId = NewType("UserId", int)


class Size(BaseModel):
    width: int = Field(ge=1, le=4096)
    tags: list[str] = []


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")
    seed: int


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"]


class Scene(BaseModel):
    picture: pathlib.Path = Field(alias="pic")
    parts: list["Scene"] = []


@dataclass
class Point:
    x: float
    y: float = 0.0


@dataclass
class Shot:
    frame: Image.Image
    at: timedelta = timedelta(0)


class Pair(TypedDict):
    left: int
    right: NotRequired[str]


class Spot(NamedTuple):
    x: int
    y: int = 0


class Color(Enum):
    RED = "red"
    BLUE = "blue"


class Level(IntEnum):
    LOW = 1
    HIGH = 2
"""
IMPORTS = f"""\
import pathlib
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from fractions import Fraction
from ipaddress import IPv4Address, IPv6Address
from re import Pattern
from typing import *
from uuid import UUID

import numpy
from PIL import Image
from pydantic import (
    AnyUrl,
    Base64Bytes,
    BaseModel,
    ConfigDict,
    Field,
    FilePath,
    FutureDatetime,
    HttpUrl,
    Json,
    PositiveInt,
    SecretStr,
)
from penstock.worker import Audio, Context, File, SampleRate


{TYPES}
"""
#: A handler of a row returns what this says of its input.
SHOW = """

def shown(x):
    if isinstance(x, pathlib.Path): return f"the path of {x.read_bytes()}, ending in {x.suffix}"
    if isinstance(x, Image.Image): return f"a picture of {x.width} x {x.height}"
    if isinstance(x, numpy.ndarray): return f"{x.dtype} samples {x.shape}"
    if isinstance(x, Audio): return f"{x.rate} samples a second, {x.samples.shape}"
    if isinstance(x, Scene): return f"Scene with {shown(x.picture)}"
    if isinstance(x, Shot): return f"Shot of {shown(x.frame)} at {x.at!r}"
    if isinstance(x, list) and x and not isinstance(x[0], (int, str, File)):
        return f"a list of {shown(x[0])}"
    if isinstance(x, dict) and any(isinstance(one, pathlib.Path) for one in x.values()):
        return f"a dict of {', '.join(shown(one) for one in x.values())}"
    return f"an open file of {x.read()}" if hasattr(x, "read") else repr(x)


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


@dataclass(frozen=True)
class Row:
    """One annotation.

    schema: of a parameter with it.  valid, invalid: values of jobs.  received: what the handler
    gets, as `SHOW` says.  error: of the 422 for the invalid one, after the path of the parameter.
    worker_error: what the worker says if that is different.  is_left: only the worker checks.
    """

    annotation: str
    schema: dict[str, Any]
    valid: Any
    received: str
    invalid: Any
    error: str
    worker_error: str = ""
    is_left: bool = False


TEXT_URL = url_of(b"hello", "text/plain")
A_FILE = "expected a file as a data URL (data:image/png;base64,...)"
NO_FILE = f"{A_FILE}, not a path or an address"
BINARY = {"type": "string", "format": "binary", "pattern": "^[dD][aA][tT][aA]:"}
PICTURE = {**BINARY, "contentMediaType": "image/*"}
SOUND = {**BINARY, "contentMediaType": "audio/*"}
INTEGER, NUMBER, STRING, NULL = ({"type": one} for one in ("integer", "number", "string", "null"))


def text(form: str, **more: Any) -> dict[str, Any]:
    return {"type": "string", "format": form, **more}


def items(of: Any, **more: Any) -> dict[str, Any]:
    return {"type": "array", "items": of, **more}


def either(*schemas: Any) -> dict[str, Any]:
    return {"anyOf": list(schemas)}


def members(title: str, required: str, **properties: Any) -> dict[str, Any]:
    named = {name: {**one, "title": name.title()} for name, one in properties.items()}
    return {"type": "object", "title": title, "required": [required], "properties": named}


PLAIN = [
    Row("int", INTEGER, 3, "3", "x", ": expected an integer, got 'x'"),
    Row("float", NUMBER, 3, "3.0", [], ": expected a number, got a list of 0"),
    Row("bool", {"type": "boolean"}, True, "True", 3, ": expected true or false, got 3"),
    Row("str", STRING, "a", "'a'", 3, ": expected a string, got 3"),
    Row("None", NULL, None, "None", 3, ": expected null, got 3"),
    Row("UserId", INTEGER, 4, "4", "x", ": expected an integer, got 'x'"),
    Row("SecretStr", text("password", writeOnly=True), "hunter2", "SecretStr('**********')", 3,
        ": expected a string, got 3"),
]  # fmt: skip
COLLECTIONS = [
    Row("list", items({}), [1, "a"], "[1, 'a']", 3, ": expected a list, got 3"),
    Row("list[int]", items(INTEGER), [1], "[1]", [1, "b"], "/1: expected an integer, got 'b'"),
    Row("Iterable[int]", items(INTEGER), [1], "[1]", ["b"], "/0: expected an integer, got 'b'"),
    Row("tuple[int, ...]", items(INTEGER), [1], "(1,)", ["b"], "/0: expected an integer, got 'b'"),
    Row("tuple[int, str]",
        {"type": "array", "prefixItems": [INTEGER, STRING], "minItems": 2, "maxItems": 2},
        [1, "a"], "(1, 'a')", ["b", "a"], "/0: expected an integer, got 'b'"),
    Row("Spot",
        {"type": "array", "minItems": 1, "maxItems": 2,
         "prefixItems": [{**INTEGER, "title": "X"}, {**INTEGER, "title": "Y", "default": 0}]},
        [1], "Spot(x=1, y=0)", ["a"], "/0: expected an integer, got 'a'"),
    Row("set[int]", items(INTEGER, uniqueItems=True), [1], "{1}", 3, ": expected a list, got 3"),
    Row("dict", {"type": "object", "additionalProperties": True}, {"a": 1}, "{'a': 1}", [],
        ": expected an object, got a list of 0"),
    Row("dict[str, float]", {"type": "object", "additionalProperties": NUMBER},
        {"a": 1}, "{'a': 1.0}", {"a~b/c": "x"}, "/a~0b~1c: expected a number, got 'x'"),
    Row("dict[Literal['a'], int]",
        {"type": "object", "additionalProperties": INTEGER, "propertyNames": {"const": "a"}},
        {"a": 1}, "{'a': 1}", {"b": 1}, "/b: expected 'a', got 'b'"),
    Row("list[dict[str, int | None]]",
        items({"type": "object", "additionalProperties": either(INTEGER, NULL)}),
        [{"a": 1}], "a list of {'a': 1}", [{"a": "x"}],
        "/0/a: expected an integer or null, got 'x'", "/0/a: expected an integer, got 'x'"),
]  # fmt: skip
CHOICES = [
    Row("Optional[int]", either(INTEGER, NULL), None, "None", "x",
        ": expected an integer or null, got 'x'", ": expected an integer, got 'x'"),
    Row("int | str | None", either(INTEGER, STRING, NULL), "7", "'7'", [],
        ": expected an integer, a string or null, got a list of 0",
        ": expected an integer or a string, got a list of 0"),
    Row("Literal['s', 'm']", {"type": "string", "enum": ["s", "m"]}, "m", "'m'", "q",
        ": expected 's' or 'm', got 'q'"),
    Row("Literal[1, 2, 'auto']", {"enum": [1, 2, "auto"]}, 2, "2", 3,
        ": expected 1, 2 or 'auto', got 3"),
    Row("Color", {"type": "string", "enum": ["red", "blue"], "title": "Color"}, "red",
        "<Color.RED: 'red'>", "green", ": expected 'red' or 'blue', got 'green'"),
    Row("Level", {"type": "integer", "enum": [1, 2], "title": "Level"}, 2, "<Level.HIGH: 2>", 3,
        ": expected 1 or 2, got 3"),
    Row("Cat | Dog", either({"$ref": "#/$defs/Cat"}, {"$ref": "#/$defs/Dog"}), {"kind": "dog"},
        "Dog(kind='dog')", {"kind": "cow"}, "/kind: expected 'cat' or 'dog', got 'cow'"),
    Row("Annotated[Cat | Dog, Field(discriminator='kind')]",
        {"oneOf": [{"$ref": "#/$defs/Cat"}, {"$ref": "#/$defs/Dog"}],
         "discriminator": {"propertyName": "kind",
                           "mapping": {"cat": "#/$defs/Cat", "dog": "#/$defs/Dog"}}},
        {"kind": "cat"}, "Cat(kind='cat', lives=9)", {"kind": "cat", "lives": "many"},
        "/lives: expected an integer, got 'many'"),
]  # fmt: skip
BOUNDS = [
    Row("Annotated[int, Field(ge=1, le=9, description='How many.')]",
        {**INTEGER, "minimum": 1, "maximum": 9, "description": "How many."}, 9, "9", 0,
        ": expected a value of at least 1, got 0"),
    Row("Annotated[float, Field(gt=0, lt=1)]",
        {**NUMBER, "exclusiveMinimum": 0, "exclusiveMaximum": 1}, 0.5, "0.5", 1,
        ": expected a value below 1, got 1"),
    Row("Annotated[int, Field(multiple_of=8)]", {**INTEGER, "multipleOf": 8}, 16, "16", 12,
        ": expected a multiple of 8, got 12"),
    Row("PositiveInt", {**INTEGER, "exclusiveMinimum": 0}, 1, "1", 0,
        ": expected a value above 0, got 0"),
    Row("Annotated[str, Field(max_length=3)]", {**STRING, "maxLength": 3}, "abc", "'abc'", "abcd",
        ": expected at most 3 characters, got 'abcd'"),
    Row("Annotated[str, Field(pattern='^[a-z]+$')]", {**STRING, "pattern": "^[a-z]+$"}, "a", "'a'",
        "A", ": expected a match of '^[a-z]+$', got 'A'"),
    Row("Annotated[list[int], Field(min_length=1)]", items(INTEGER, minItems=1), [1], "[1]", [],
        ": expected at least 1 value, got a list of 0"),
    Row("Annotated[list[int], Field(max_length=2)]", items(INTEGER, maxItems=2), [1], "[1]",
        [1, 2, 3], ": expected at most 2 values, got a list of 3"),
]  # fmt: skip
OBJECTS = [
    Row("Size",
        members("Size", "width", width={**INTEGER, "minimum": 1, "maximum": 4096},
                tags=items(STRING, default=[])),
        {"width": 5}, "Size(width=5, tags=[])", {"width": 5, "tags": [3]},
        "/tags/0: expected a string, got 3"),
    Row("Strict", {**members("Strict", "seed", seed=INTEGER), "additionalProperties": False},
        {"seed": 1}, "Strict(seed=1)", {"seed": 1, "size": 2}, "/size: there is no such input"),
    Row("Point", members("Point", "x", x=NUMBER, y={**NUMBER, "default": 0.0}),
        {"x": 1}, "Point(x=1.0, y=0.0)", 3, ": expected an object, got 3"),
    Row("Pair", {**members("Pair", "left", left=INTEGER, right=STRING),
                 "additionalProperties": True},
        {"left": 1, "more": 2}, "{'left': 1, 'more': 2}", {"right": "r"},
        "/left: expected a value, got nothing"),
    Row("Shot", members("Shot", "frame", frame=PICTURE, at=text("duration", default="PT0S")),
        {"frame": url_of(png(), "image/png"), "at": "PT1S"},
        "Shot of a picture of 3 x 4 at datetime.timedelta(seconds=1)", {"frame": "cat.png"},
        f"/frame: {A_FILE}, got 'cat.png'", f"/frame: {NO_FILE}"),
    Row("Scene", {"$ref": "#/$defs/Scene"}, {"pic": TEXT_URL},
        "Scene with the path of b'hello', ending in .txt",
        {"pic": TEXT_URL, "parts": [{"pic": "/etc/passwd"}]},
        f"/parts/0/pic: {A_FILE}, got '/etc/passwd'", f"/parts/0/pic: {NO_FILE}"),
    Row("Json", {**STRING, "contentMediaType": "application/json", "contentSchema": {}},
        '{"a": 1}', "{'a': 1}", "{", ": expected a text that is JSON, got '{'", is_left=True),
]  # fmt: skip
FORMATS = [
    Row("datetime", text("date-time"), "2026-11-29T08:30:00",
        "datetime.datetime(2026, 11, 29, 8, 30)", "yesterday",
        ": expected a date and time such as 2026-11-29T08:30:00Z, got 'yesterday'"),
    Row("date", text("date"), "2026-11-29", "datetime.date(2026, 11, 29)", "29.11.2026",
        ": expected a date such as 2026-11-29, got '29.11.2026'"),
    Row("time", text("time"), "08:30:00", "datetime.time(8, 30)", "25:00",
        ": expected a time such as 08:30:00, got '25:00'"),
    Row("timedelta", text("duration"), "PT90S", "datetime.timedelta(seconds=90)", "soon",
        ": expected a duration such as PT1M30S, got 'soon'"),
    Row("FutureDatetime", text("date-time"), "2999-01-01T00:00:00",
        "datetime.datetime(2999, 1, 1, 0, 0)", "1999-01-01T00:00:00",
        ": expected a date and time in the future, got '1999-01-01T00:00:00'", is_left=True),
    Row("UUID", text("uuid"), "12345678-1234-5678-1234-567812345678",
        "UUID('12345678-1234-5678-1234-567812345678')", "1234", ": expected a UUID, got '1234'"),
    Row("Decimal", either(NUMBER, text("decimal")), "0.10", "Decimal('0.10')", "ten",
        ": expected a decimal number, got 'ten'"),
    Row("Fraction", either(NUMBER, text("fraction")), "1/2", "Fraction(1, 2)", "half",
        ": expected a fraction such as 1/3, got 'half'"),
    Row("IPv4Address", text("ipv4"), "127.0.0.1", "IPv4Address('127.0.0.1')", "here",
        ": expected an IPv4 address, got 'here'"),
    Row("IPv6Address", text("ipv6"), "::1", "IPv6Address('::1')", "here",
        ": expected an IPv6 address, got 'here'"),
    Row("AnyUrl", text("uri", minLength=1), "s3://bucket/a", "AnyUrl('s3://bucket/a')", "no url",
        ": expected a URL, got 'no url'"),
    Row("HttpUrl", text("uri", minLength=1, maxLength=2083), "https://example.org/",
        "HttpUrl('https://example.org/')", "ftp://example.org/",
        ": expected a URL that begins with 'http' or 'https', got 'ftp://example.org/'",
        is_left=True),
    Row("Pattern", text("regex"), "^a", "re.compile('^a')", "(",
        ": expected a regular expression, got '('", is_left=True),
    Row("Base64Bytes", text("base64"), "aGk=", "b'hi'", 3, ": expected a string, got 3"),
]  # fmt: skip
FILES = [
    Row("pathlib.Path", BINARY, TEXT_URL, "the path of b'hello', ending in .txt", "/etc/passwd",
        f": {A_FILE}, got '/etc/passwd'", f": {NO_FILE}"),
    Row("Optional[FilePath]", either({**BINARY, "format": "file-path"}, NULL), TEXT_URL,
        "the path of b'hello', ending in .txt", "http://127.0.0.1/",
        f": {A_FILE}, got 'http://127.0.0.1/'", f": {NO_FILE}"),
    Row("pathlib.Path | str", either(BINARY, STRING), "/etc/passwd", "'/etc/passwd'", 3,
        f": {A_FILE} or a string, got 3", f": {NO_FILE} or a string"),
    Row("list[File]", items(BINARY), [TEXT_URL],
        "[File(data=b'hello', media_type='text/plain', suffix='.txt')]", ["data.csv"],
        f"/0: {A_FILE}, got 'data.csv'", f"/0: {NO_FILE}"),
    Row("dict[str, pathlib.Path]", {"type": "object", "additionalProperties": BINARY},
        {"a": TEXT_URL}, "a dict of the path of b'hello', ending in .txt", {"a": "/etc/passwd"},
        f"/a: {A_FILE}, got '/etc/passwd'", f"/a: {NO_FILE}"),
    Row("bytes", BINARY, TEXT_URL, "b'hello'", "abc", f": {A_FILE}, got 'abc'", f": {NO_FILE}"),
    Row("BinaryIO", BINARY, TEXT_URL, "an open file of b'hello'", None,
        f": {A_FILE}, got null", f": {NO_FILE}"),
    Row("Image.Image", PICTURE, url_of(png(), "image/png"), "a picture of 3 x 4", TEXT_URL,
        ": expected an image (PNG, JPEG, WEBP, GIF, BMP, TIFF), got other bytes", is_left=True),
    Row("list[Image.Image]", items(PICTURE), [url_of(png(), "image/png")],
        "a list of a picture of 3 x 4", "x", ": expected a list, got 'x'"),
    Row("Annotated[Image.Image, Field(description='A photo.')]",
        {**PICTURE, "description": "A photo."}, url_of(png(), "image/png"), "a picture of 3 x 4",
        "x", f": {A_FILE}, got 'x'", f": {NO_FILE}"),
    Row("Annotated[pathlib.Path, Field(title='Film')]", {**BINARY, "title": "Film"}, TEXT_URL,
        "the path of b'hello', ending in .txt", "x", f": {A_FILE}, got 'x'", f": {NO_FILE}"),
    Row("numpy.ndarray", SOUND, url_of(wav(), "audio/wav"), "float32 samples (1600,)", "beep",
        f": {A_FILE}, got 'beep'", f": {NO_FILE}"),
    Row("Annotated[numpy.ndarray, SampleRate(8000)]", SOUND, url_of(wav(8000), "audio/wav"),
        "float32 samples (800,)", "beep", f": {A_FILE}, got 'beep'", f": {NO_FILE}"),
    Row("Audio", SOUND, url_of(wav(8000, channels=2, width=3), "audio/wav"),
        "8000 samples a second, (800,)", 3, f": {A_FILE}, got 3", f": {NO_FILE}"),
]  # fmt: skip
GROUPS = {
    "Plain values": PLAIN,
    "Collections": COLLECTIONS,
    "Choices": CHOICES,
    "Bounds": BOUNDS,
    "Objects": OBJECTS,
    "Texts with a format": FORMATS,
    "Files": FILES,
}
ROWS = [row for rows in GROUPS.values() for row in rows]


def handler_of(rows: list[Row]) -> str:
    """Return a module whose predict has a parameter x0, x1, ... for each row."""
    parameters = "".join(f"    x{i}: {row.annotation} = None,\n" for i, row in enumerate(rows))
    return f"{IMPORTS}{SHOW}def predict(\n    *,\n{parameters}):\n    return None\n"
