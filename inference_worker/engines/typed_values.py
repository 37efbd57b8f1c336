"""From the JSON of a job to a value of an annotated type, and the type's JSON Schema (2020-12).

pydantic knows both for models, dataclasses, TypedDicts, unions, enums and bounds.  Only files are
different from what it does: see `file_kinds`.
"""

import sys
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args, get_origin

import typing_extensions
from pydantic import ConfigDict, EncodedBytes, PydanticUserError, TypeAdapter, ValidationError
from pydantic.errors import PydanticInvalidForJsonSchema, PydanticSchemaGenerationError
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import CoreSchema, PydanticOmit, SchemaValidator, core_schema
from typing_extensions import is_typeddict

from inference_worker.engines.failures import BadInput
from inference_worker.engines.file_kinds import Kind, Received, kind_of, leaf
from inference_worker.engines.input_wording import sentences

_ANY_CLASS = ConfigDict(arbitrary_types_allowed=True)
#: The parts of a core schema that are no schemas.
_NOT_SCHEMAS = frozenset({"cls", "default", "metadata", "function", "serialization", "config"})


class CannotDescribe(Exception):
    """A type has no JSON Schema."""


@dataclass(frozen=True, slots=True)
class Value:
    """A type whose values jobs can send.

    core: pydantic's description of it, with our own files.  file: set if it is a file itself.
    """

    core: CoreSchema
    validator: SchemaValidator
    file: Kind | None = None

    def read(self, value: Any, received: Received, *, at: str = "") -> Any:
        """Convert JSON; raises BadInput with the path of each error.

        received: gets the files that are written.  at: the path of the value.
        """
        try:
            return self.validator.validate_python(value, context=received)
        except ValidationError as error:
            raise BadInput("; ".join(sentences(error, value, at))) from None
        except RecursionError:
            raise BadInput(f"{at or 'the input'}: brackets nested too deep") from None


def value_of(hint: Any) -> Value:
    """Return how values of this annotation are read; raises CannotDescribe."""
    try:
        hint = _modern(hint)
        _allow_any_class(hint)
        has_own_config = _has_own_config(hint)
        adapter = TypeAdapter(hint, config=None if has_own_config else _ANY_CLASS)
        core = _with_files(adapter.core_schema)
        # Prebuilt validators of nested models would read files in pydantic's way.
        value = Value(
            core, SchemaValidator(core, _use_prebuilt=False), kind_of(adapter.core_schema)
        )
        schemas_of({"": value})
    except (
        PydanticUserError,
        PydanticSchemaGenerationError,
        PydanticInvalidForJsonSchema,
    ) as error:
        raise CannotDescribe(str(error).partition("\n")[0]) from error
    except (PydanticOmit, TypeError, RecursionError) as error:
        raise CannotDescribe(f"{type(error).__name__} at {hint!r}") from error
    return value


def schemas_of(
    values: Mapping[str, Value],
    *,
    mode: typing.Literal["validation", "serialization"] = "validation",
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the schema of each value by name, and the definitions that they share."""
    found, shared = _JsonSchema().generate_definitions(
        [(name, mode, value.core) for name, value in values.items()]
    )
    return {name: found[name, mode] for name in values}, {
        str(name): one for name, one in shared.items()
    }


def with_definitions(schema: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    """Return a schema with its definitions."""
    return {**schema, "$defs": shared} if shared else schema


class _JsonSchema(GenerateJsonSchema):
    """pydantic's, which says of a decimal number only that it may be a text."""

    def decimal_schema(self, schema: core_schema.DecimalSchema) -> dict[str, Any]:
        found = super().decimal_schema(schema)
        for one in found.get("anyOf", [found]):
            if one.get("type") == "string" and "pattern" not in one:
                one["format"] = "decimal"
        return found


def _with_files(node: Any) -> Any:
    """Return a core schema whose files are read in our way."""
    if isinstance(node, list | tuple):
        return type(node)(_with_files(one) for one in node)
    if not isinstance(node, dict):
        return node
    if _is_encoded(node):
        return node
    if kind := kind_of(node):
        return leaf(kind, node.get("metadata", {}))
    if node.get("type") == "generator":
        # pydantic would validate the items when the handler asks for them.
        node = {**node, "type": "list"}
    changed = {
        name: one if name in _NOT_SCHEMAS else _with_files(one) for name, one in node.items()
    }
    if node.get("custom_init") and changed != node:
        # Its __init__ validates by itself, in pydantic's way.
        raise CannotDescribe(f"{node['cls'].__name__} has its own __init__ and a file")
    return changed


def _is_encoded(node: Mapping[str, Any]) -> bool:
    """Return whether a node is pydantic's Base64Bytes: a text, and no file."""
    functions = node.get("metadata", {}).get("pydantic_js_annotation_functions", ())
    return any(isinstance(getattr(one, "__self__", None), EncodedBytes) for one in functions)


def _has_own_config(hint: Any) -> bool:
    kind = get_origin(hint) or hint
    if not isinstance(kind, type):
        return False
    return hasattr(kind, "__pydantic_fields__") or is_typeddict(kind) or _is_dataclass(kind)


def _allow_any_class(hint: Any) -> None:
    """Let the fields of a dataclass be pictures: it has no other place for this setting."""
    kind = get_origin(hint) or hint
    if isinstance(kind, type) and _is_dataclass(kind) and not hasattr(kind, "__pydantic_config__"):
        # Only pydantic reads it, where the class is an annotation.
        kind.__pydantic_config__ = _ANY_CLASS  # type: ignore[attr-defined]


def _is_dataclass(kind: type) -> bool:
    return hasattr(kind, "__dataclass_fields__")


def _modern(hint: Any) -> Any:
    """Return the annotation with TypedDicts that keep keys which they do not name.

    pydantic drops such keys, and before Python 3.12 it does not accept TypedDicts of `typing`.
    """
    if is_typeddict(hint):
        return hint if hasattr(hint, "__pydantic_config__") else _typed_dict(hint)
    origin, arguments = get_origin(hint), get_args(hint)
    if not arguments or origin is typing.Literal:
        return hint
    if origin is typing.Annotated:
        return typing.Annotated[(_modern(arguments[0]), *arguments[1:])]
    modern = tuple(_modern(one) for one in arguments)
    if all(new is old for new, old in zip(modern, arguments, strict=True)):
        return hint
    if origin in (typing.Union, types.UnionType):
        return typing.Union[modern]  # noqa: UP007 - computed
    return hint.copy_with(modern) if hasattr(hint, "copy_with") else origin[modern]


def _typed_dict(hint: Any) -> Any:
    # Its own module resolves names of forward references.
    names = vars(sys.modules[hint.__module__]) if hint.__module__ in sys.modules else {}
    fields = typing_extensions.get_type_hints(hint, globalns=dict(names), include_extras=True)
    marked = {
        name: _modern(one)
        if name in hint.__required_keys__
        else typing_extensions.NotRequired[_modern(_unmarked(one))]
        for name, one in fields.items()
    }
    make: Any = typing_extensions.TypedDict
    new = make(hint.__name__, marked)
    new.__pydantic_config__ = ConfigDict(extra="allow", arbitrary_types_allowed=True)
    new.__module__, new.__doc__ = hint.__module__, hint.__doc__
    return new


def _unmarked(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is typing_extensions.NotRequired else hint


#: For annotations without a schema of their own.
ANYTHING = Value(core_schema.any_schema(), SchemaValidator(core_schema.any_schema()))
