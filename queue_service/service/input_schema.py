"""What a worker declares of its service: checks inputs against the schema, within bounded work.

jsonschema-rs validates: compiled once, it takes microseconds, runs patterns in linear time, and
opens no address.  An input that would cost too much is left to the worker, which validates all.
"""

import json
from collections.abc import Mapping
from itertools import islice
from typing import Any

from jsonschema_rs import Draft202012Validator, RegexOptions, ValidationError

from queue_service.service.schema_cost import (
    DEPTHS,
    ENDLESS,
    BadSchema,
    costs_of,
    safe_copy,
)
from queue_service.service.schema_formats import FORMAT_CHECKS
from queue_service.service.schema_wording import MAX_ERRORS, Wording, Wrong, listed

JSON, TEXT = "application/json", "text/plain"
#: A larger input is left to the worker, in bytes.
MAX_CHECKED_BYTES = 1024 * 1024
#: The most evaluations of parts of a schema for one input.
MAX_EVALUATIONS = 200_000
#: Of an input with more only the first error is reported: the library collects all.
MANY_EVALUATIONS = 5000
#: The deepest input that parsers of other languages still read.
MAX_INPUT_DEPTH = 100
#: The memory of one compiled pattern, in bytes.
PATTERN_BYTES = 256 * 1024
_PATTERNS = RegexOptions(size_limit=PATTERN_BYTES, dfa_size_limit=PATTERN_BYTES)


class InputSchema:
    """The inputs of one version of a service's workers; raises BadSchema if it cannot be used."""

    def __init__(self, described: Any) -> None:
        part = described if isinstance(described, dict) else {}
        types = part.get("content_types", [JSON])
        if not isinstance(types, list) or not all(isinstance(one, str) for one in types):
            raise BadSchema("expected content_types to be a list of strings")
        self.content_types: list[str] = types
        self._envelope = str(part.get("envelope", ""))
        self._besides = frozenset(map(str, listed(part.get("envelope_fields"))))
        accepts_text = part.get("accepts_text") is True
        self._schema = safe_copy(part.get("schema"), accepts_text=accepts_text)
        self._costs = costs_of(self._schema)
        self._wording = Wording(self._schema)
        _drop_bad_patterns(self._schema)
        try:
            self._validator = Draft202012Validator(
                self._schema,
                formats=FORMAT_CHECKS,
                validate_formats=True,
                pattern_options=_PATTERNS,
                offline=True,
            )
        except (ValidationError, ValueError) as error:
            raise BadSchema(str(error).partition("\n")[0][:200]) from None

    def wrong(self, data: bytes, *, content_type: str, path: str) -> list[Wrong]:
        """Return the first errors of an input; none if it is valid, or left to the worker."""
        if len(data) > MAX_CHECKED_BYTES or not self._is_json(data, content_type, path):
            return []
        if JSON not in self.content_types:
            try:
                return self._wrong_value(data.decode(), "", 1)
            except UnicodeDecodeError as error:
                return [Wrong("", f"expected UTF-8 text, got another byte at {error.start}")]
        try:
            value = json.loads(data, parse_constant=_no_constant) if data.strip() else self._nothing
        except RecursionError:
            return [Wrong("", "expected JSON, got brackets nested too deep")]
        except ValueError as error:
            return [Wrong("", f"expected JSON: {str(error)[:200]}")]
        value, path = self._without_envelope(value)
        # Each value follows one of these; strings that have them make it an upper bound.
        count = 1 + data.count(b",") + data.count(b"[") + data.count(b":")
        return self._wrong_value(value, path, count)

    @property
    def _nothing(self) -> Any:
        # A payload without anything is an object without anything, for inputs by name.
        return {} if "properties" in self._schema else None

    def _is_json(self, data: bytes, content_type: str, path: str) -> bool:
        """Say whether a payload must match the schema; the worker takes others as they are."""
        if self.content_types == [TEXT]:
            return not path.startswith("v1/")
        if JSON not in self.content_types:
            return False
        raw = next((one for one in self.content_types if one != JSON), None)
        has_raw = raw is not None or self.content_types.count(JSON) > 1
        if not has_raw:
            return True
        if data.lstrip()[:1] != b"{" or (raw == TEXT and path.startswith("v1/")):
            return False
        sent = content_type.partition(";")[0].strip().lower()
        # The content of a file may be an object too.
        return raw in (None, TEXT) or sent == JSON

    def _without_envelope(self, value: Any) -> tuple[Any, str]:
        known = self._schema.get("properties", {})
        if not self._envelope or not isinstance(value, dict) or self._envelope in known:
            return value, ""
        if self._envelope in value:
            return value[self._envelope], f"/{self._envelope}"
        if value and value.keys() <= self._besides and value.keys().isdisjoint(known):
            return {}, ""
        return value, ""

    def _wrong_value(self, value: Any, at: str, count: int) -> list[Wrong]:
        depth = _depth_of(value)
        if depth > MAX_INPUT_DEPTH:
            return [Wrong(at, "expected JSON, got brackets nested too deep")]
        evaluations = count * self._cost_at(depth)
        if evaluations > MAX_EVALUATIONS:
            return []
        try:
            if evaluations > MANY_EVALUATIONS:
                self._validator.validate(value)
                return []
            if self._validator.is_valid(value):
                return []
            found = list(islice(self._validator.iter_errors(value), MAX_ERRORS))
        except ValidationError as error:
            found = [error]
        except ValueError:
            # Half of a surrogate pair, which is no text.
            return [Wrong(at, "expected JSON that can be written again")]
        wrong = [one for error in found for one in self._wording.described(error, at)]
        return list(dict.fromkeys(wrong))[:MAX_ERRORS]

    def _cost_at(self, depth: int) -> int:
        if depth < DEPTHS:
            return max(self._costs[: depth + 1])
        is_growing = self._costs[-1] > self._costs[DEPTHS // 2]
        return ENDLESS if is_growing else max(self._costs)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _depth_of(value: Any) -> int:
    """Return how deep lists and objects are nested; no more than a little above the limit."""
    depth, level = 0, [value]
    while depth <= MAX_INPUT_DEPTH:
        below: list[Any] = []
        for one in level:
            if isinstance(one, dict):
                below += one.values()
            elif isinstance(one, list):
                below += one
        if not below:
            return depth
        # Only what may contain something matters.
        level = [one for one in below if isinstance(one, dict | list)]
        depth += 1
    return depth


def _drop_bad_patterns(schema: Mapping[str, Any]) -> None:
    """Remove patterns that are not of linear time, or too large: those are the worker's."""
    stack: list[Any] = [schema]
    while stack:
        part = stack.pop()
        if isinstance(part, list):
            stack += part
            continue
        if not isinstance(part, dict):
            continue
        if isinstance(part.get("pattern"), str) and not _is_usable(part["pattern"]):
            del part["pattern"]
        if isinstance(by_name := part.get("patternProperties"), dict):
            part["patternProperties"] = {
                one: below for one, below in by_name.items() if _is_usable(one)
            }
            if len(part["patternProperties"]) < len(by_name):
                # What the removed ones allow is not known.
                part.pop("additionalProperties", None)
        stack += part.values()


def _is_usable(pattern: str) -> bool:
    try:
        Draft202012Validator({"pattern": pattern}, pattern_options=_PATTERNS, offline=True)
    except (ValidationError, ValueError):
        return False
    return True
