"""Inputs and schemas that would cost too much; the wording of errors.  No process."""

import json
from typing import Any

import pytest

from queue_service.service.input_schema import InputSchema
from queue_service.service.schema_cost import BadSchema

FILE = {"type": "string", "format": "binary", "pattern": "^[dD][aA][tT][aA]:"}
PAINTER: dict[str, Any] = {
    "type": "object",
    "properties": {
        "prompt": {"type": "string", "minLength": 2},
        "steps": {"type": "integer", "minimum": 1, "maximum": 9},
        "size": {"enum": ["s", "m"]},
        "seeds": {"anyOf": [{"type": "array", "items": {"type": "integer"}}, {"type": "null"}]},
        "image": {"anyOf": [FILE, {"type": "null"}]},
        "tree": {"$ref": "#/$defs/Tree"},
    },
    "required": ["prompt"],
    "additionalProperties": False,
    "$defs": {
        "Tree": {
            "type": "object",
            "properties": {"kids": {"type": "array", "items": {"$ref": "#/$defs/Tree"}}},
            "additionalProperties": False,
        }
    },
}
NESTED: dict[str, Any] = {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}


def wrong(described: dict[str, Any], data: bytes, content_type: str = "", path: str = "") -> Any:
    schema = InputSchema(described)
    return [str(one) for one in schema.wrong(data, content_type=content_type, path=path)]


@pytest.mark.parametrize(
    ("value", "errors"),
    [
        ({"prompt": "ab"}, []),
        ({"prompt": "ab", "steps": 1.0, "seeds": None, "image": "data:,x"}, []),
        ({"prompt": "ab", "image": {"$file": "file_1"}}, []),
        ({"prompt": 3}, ["/prompt: expected a string, got 3"]),
        ({}, ["/prompt: expected a value, got nothing"]),
        ({"prompt": "a"}, ["/prompt: expected at least 2 characters, got 'a'"]),
        ({"prompt": "ab", "steps": 0}, ["/steps: expected a value of at least 1, got 0"]),
        ({"prompt": "ab", "steps": "3"}, ["/steps: expected an integer, got '3'"]),
        ({"prompt": "ab", "size": "x"}, ["/size: expected 's' or 'm', got 'x'"]),
        ({"prompt": "ab", "seeds": [1, "a"]}, ["/seeds/1: expected an integer, got 'a'"]),
        ({"prompt": "ab", "seeds": 3}, ["/seeds: expected a list or null, got 3"]),
        (
            {"prompt": "ab", "image": "/etc/passwd"},
            [
                "/image: expected a file as a data URL (data:image/png;base64,...), "
                "got '/etc/passwd'"
            ],
        ),
        ({"prompt": "ab", "step": 3}, ["/step: there is no such input; did you mean steps?"]),
        (
            {"prompt": "ab", "tree": {"kids": [{}, {"kid/s": 1}]}},
            ["/tree/kids/1/kid~1s: there is no such input; did you mean kids?"],
        ),
        ([], ["the input: expected an object, got a list of 0"]),
        ({"prompt": 3, "steps": 0}, ["/prompt: expected a string, got 3",
                                     "/steps: expected a value of at least 1, got 0"]),
    ],
)  # fmt: skip
def test_each_error_has_a_path(value: Any, errors: list[str]) -> None:
    assert wrong({"schema": PAINTER}, json.dumps(value).encode()) == errors


@pytest.mark.parametrize(
    ("data", "begin"),
    [
        (b"", "/prompt: expected a value"),
        (b"{", "the input: expected JSON: "),
        (b"\xff\xfe{", "the input: expected JSON: "),
        (b'{"prompt": NaN}', "the input: expected JSON: NaN is not"),
        (b'{"prompt": ' + b"[" * 100_000, "the input: expected JSON, got brackets nested too deep"),
        (b'{"prompt": ' + b"[" * 150 + b"]" * 150 + b"}", "the input: expected JSON, got brackets"),
    ],
)
def test_what_is_no_json_is_refused(data: bytes, begin: str) -> None:
    assert [one[: len(begin)] for one in wrong({"schema": PAINTER}, data)] == [begin]


def test_an_error_stays_short() -> None:
    found = wrong(
        {"schema": PAINTER}, json.dumps({"prompt": "a" * 100_000, "x" * 9999: 1}).encode()
    )
    assert all(len(one) < 400 for one in found)
    many = {"type": "array", "items": {"type": "integer"}}
    assert len(wrong({"schema": many}, json.dumps(["x"] * 1000).encode())) == 20
    # Of many values only the first error is reported.
    assert wrong({"schema": many}, json.dumps(["x"] * 50_000).encode()) == [
        "/0: expected an integer, got 'x'"
    ]


@pytest.mark.parametrize(
    ("types", "data", "content_type", "path", "is_refused"),
    [
        (["application/json"], b"a cat", "", "", True),
        (["application/json", "text/plain"], b"a cat", "", "", False),
        (["application/json", "text/plain"], b'{"steps_": 1}', "", "", True),
        (["application/json", "text/plain"], b'{"messages": []}', "", "v1/chat/completions", False),
        (["application/json", "image/*"], b'{"steps_": 1}', "", "", False),
        (["application/json", "image/*"], b'{"steps_": 1}', "application/json", "", True),
        (["image/*"], b"anything", "application/json", "", False),
    ],
)
def test_raw_payloads_are_the_workers_business(
    types: list[str], data: bytes, content_type: str, path: str, is_refused: bool
) -> None:
    described = {"schema": PAINTER, "content_types": types}
    assert bool(wrong(described, data, content_type, path)) == is_refused


def test_a_text_can_have_bounds() -> None:
    described = {"content_types": ["text/plain"], "schema": {"type": "string", "maxLength": 3}}
    assert wrong(described, b"abc") == []
    assert wrong(described, b"abcd") == ["the input: expected at most 3 characters, got 'abcd'"]
    assert wrong(described, b"\xff") == ["the input: expected UTF-8 text, got another byte at 0"]


def test_an_envelope_may_surround_the_input() -> None:
    described = {"schema": PAINTER, "envelope": "input", "envelope_fields": ["webhook"]}
    assert wrong(described, b'{"input": {"prompt": "ab"}, "webhook": "x"}') == []
    assert wrong(described, b'{"input": {"prompt": 3}}') == [
        "/input/prompt: expected a string, got 3"
    ]
    assert wrong(described, b'{"webhook": "x"}') == ["/prompt: expected a value, got nothing"]


def test_a_text_may_be_a_number_for_predictors_that_accept_it() -> None:
    described = {"schema": PAINTER, "accepts_text": True}
    assert wrong(described, b'{"prompt": "ab", "steps": "3"}') == []


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({"$ref": "http://169.254.169.254/latest"}, "expected a reference to"),
        ({"properties": {"a": {"$ref": "file:///etc/passwd"}}}, "expected a reference to"),
        ({"$ref": "#/$defs/nobody"}, "expected a reference to"),
        ({"$ref": "#"}, "without a circle"),
        ({**NESTED, "$ref": "#/$defs/a"}, "without a circle"),
        ({"anyOf": [{"allOf": [{"$ref": "#"}]}]}, "without a circle"),
        ({"properties": {f"p{n}": {} for n in range(5000)}}, "at most 4000 parts"),
        ({"enum": list(range(100_000))}, "alternatives for one value"),
        ({"required": [f"n{n}" for n in range(50_000)]}, "alternatives for one value"),
        (
            {
                "$ref": "#/$defs/a0",
                "$defs": {
                    **{f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(40)},
                    "a40": {"type": "string"},
                },
            },
            "alternatives for one value",
        ),
        ({"type": "nonsense"}, "not valid"),
        ({"required": 3}, "not of type"),
        ([], "expected an object or a boolean"),
        (None, "expected an object or a boolean"),
        (True, "expected an object as schema"),
    ],
)
def test_a_hostile_schema_is_refused(schema: Any, why: str) -> None:
    with pytest.raises(BadSchema, match=why):
        InputSchema({"schema": schema})


def test_a_deep_schema_is_refused() -> None:
    schema: dict[str, Any] = {}
    for _ in range(500):
        schema = {"items": schema}
    with pytest.raises(BadSchema, match="nested at most 100 deep"):
        InputSchema({"schema": schema})


@pytest.mark.parametrize("pattern", ["(?=a)b", "((a{1,1000}){1,1000}){1,1000}", "(a)\\1"])
def test_a_pattern_that_is_not_of_linear_time_is_left_to_the_worker(pattern: str) -> None:
    assert wrong({"schema": {"type": "string", "pattern": pattern}}, b'"c"') == []


def test_a_pattern_takes_linear_time() -> None:
    data = json.dumps("a" * 200_000 + "b").encode()
    assert len(wrong({"schema": {"type": "string", "pattern": "^(a+)+$"}}, data)) == 1


def test_alternatives_that_recurse_are_checked_only_while_that_is_cheap() -> None:
    child = {"$ref": "#/$defs/E"}
    both = [
        {"type": "object", "properties": {"op": {"const": name}, "left": child}}
        for name in ("add", "mul")
    ]
    schema = {"$ref": "#/$defs/E", "$defs": {"E": {"oneOf": [*both, {"type": "integer"}]}}}
    value: Any = "x"
    for _ in range(4):
        value = {"op": "add", "left": value}
    assert wrong({"schema": schema}, json.dumps(value).encode())
    for _ in range(50):
        value = {"op": "add", "left": value}
    # Two to the power of 54 evaluations otherwise.
    assert wrong({"schema": schema}, json.dumps(value).encode()) == []
