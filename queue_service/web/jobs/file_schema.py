"""The published schema of a file: a data URL, or an upload.  Pure."""

from typing import Any

from queue_service.service.schema_cost import DATA_URL, FILE_REFERENCE

#: A file that is stored already.
REFERENCE: dict[str, Any] = {
    "type": "object",
    "properties": {
        FILE_REFERENCE: {
            "type": "string",
            "description": "The id of a file that you have uploaded: POST /v1/files",
        }
    },
    "required": [FILE_REFERENCE],
    "additionalProperties": False,
}


def with_references(schema: Any) -> Any:
    """Return a schema in which each file may also be `{"$file": id}`.

    All else of it stays, so that clients still find a string with the format `binary`.
    """
    if isinstance(schema, list):
        return [with_references(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if is_file(schema):
        return {**schema, **REFERENCE, "type": ["string", "object"]}
    return {name: with_references(one) for name, one in schema.items()}


def is_file(schema: dict[str, Any]) -> bool:
    """Return whether this part of a schema is a file, as a worker declares it."""
    return schema.get("pattern") == DATA_URL and schema.get("type") == "string"
