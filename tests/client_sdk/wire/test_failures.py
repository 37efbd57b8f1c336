"""The classes of failures, from codes and statuses, and that the documentation says the same."""

import re
from pathlib import Path

import pytest

from client_sdk.wire.failures import (
    OF_CODES,
    FailureType,
    type_named,
    type_of_code,
    type_of_status,
)

DOCUMENT = Path(__file__).parents[3] / "docs" / "errors.md"


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        ((400, 404, 405, 409, 410, 411, 413, 414, 415, 418, 422), FailureType.BAD_INPUT),
        ((401, 402, 403, 407, 501), FailureType.INTERNAL),
        ((408, 425, 429, 500, 502, 503, 507, 599), FailureType.TRANSIENT),
        ((504,), FailureType.TIMEOUT),
        ((302, 304, 100, 0), FailureType.INTERNAL),
    ],
)
def test_the_status_of_an_answer_has_a_type(
    statuses: tuple[int, ...], expected: FailureType
) -> None:
    assert {status: type_of_status(status) for status in statuses} == dict.fromkeys(
        statuses, expected
    )


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("BadInput", FailureType.BAD_INPUT),
        ("422", FailureType.BAD_INPUT),
        ("429", FailureType.TRANSIENT),
        ("OutOfMemoryError", FailureType.OOM),
        ("MemoryError", FailureType.OOM),
        ("EngineDied", FailureType.ENGINE_LOST),
        ("DeviceLost", FailureType.GPU_LOST),
        ("RunTimeout", FailureType.TIMEOUT),
        ("KeyError", FailureType.INTERNAL),
        ("", FailureType.INTERNAL),
        ("٥٠٣", FailureType.INTERNAL),
        ("99999999999", FailureType.INTERNAL),
    ],
)
def test_a_code_has_a_type(code: str, expected: FailureType) -> None:
    assert type_of_code(code) is expected


def test_an_older_version_that_names_no_type_is_judged_by_its_code() -> None:
    assert type_named("", "503") is FailureType.TRANSIENT
    assert type_named("of the future", "BadInput") is FailureType.BAD_INPUT
    assert type_named("oom", "EngineDied") is FailureType.OOM


def test_the_documentation_lists_every_type_with_its_codes_and_statuses() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", DOCUMENT.read_text(), re.MULTILINE))
    types = {kind: rows[kind] for kind in FailureType}
    for code, kind in OF_CODES.items():
        if code != "Shutdown":
            assert f"`{code}`" in types[kind], code
    for kind, row in types.items():
        for status in re.findall(r"\b[45]\d\d\b", row):
            assert type_of_status(int(status)) is FailureType(kind), status
