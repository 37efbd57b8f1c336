"""The schema of one service, and an OpenAPI 3.1 document of its jobs with that schema."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from client_sdk.wire import names
from queue_service.service.schema_cost import DATA_URL
from queue_service.web.jobs.file_schema import REFERENCE
from queue_service.web.jobs.schemas import Schema, ref

#: Names of components; definitions of the worker's get a prefix, so that they never meet ours.
INPUT, OUTPUT, FORM = "Input", "Output", "InputForm"
_BINARY: Schema = {"type": "string", "format": "binary"}
_MULTIPART = "multipart/form-data"


def of_service(document: Schema, service: str, declared: Mapping[str, Any], version: str) -> Schema:
    """Return the document of one service.

    document: the general one.  declared: what its newest worker has declared; empty for nothing.
    """
    inputs, output = _part(declared, "input"), _part(declared, "output")
    schemas = dict(document["components"]["schemas"])
    schemas |= _components(INPUT, inputs, is_form=False) | _components(
        OUTPUT, output, is_form=False
    )
    takes_form = _takes_form(inputs)
    if takes_form:
        schemas |= _components(FORM, inputs, is_form=True)
    jobs = names.JOBS_PATH
    paths = {
        path.replace("{service}", quote(service, safe="")): _of_one_service(item)
        for path, item in document["paths"].items()
        if path.startswith(jobs)
    }
    base = jobs.replace("{service}", quote(service, safe=""))
    if inputs:
        content = _contents(inputs, INPUT)
        form = {_MULTIPART: {"schema": ref(FORM)}} if takes_form else {}
        _set_body(paths[base], "post", {**content, **form})
        _set_body(paths[f"{base}/{{job}}"], "put", {**content, **form})
    if output:
        result = paths[f"{base}/{{job}}/result"]["get"]["responses"]["200"]
        result["content"] = _contents(output, OUTPUT)
    return {
        **document,
        "info": {
            "title": service,
            "version": version or document["info"]["version"],
            "description": f"Submit jobs to the service {service}, and read their results.",
        },
        "paths": paths,
        "components": {**document["components"], "schemas": schemas},
    }


def _part(declared: Mapping[str, Any], name: str) -> dict[str, Any]:
    part = declared.get(name)
    return part if isinstance(part, dict) else {}


def _types(part: Mapping[str, Any]) -> list[str]:
    types = part.get("content_types")
    return [one for one in types if isinstance(one, str)] if isinstance(types, list) else []


def _takes_form(inputs: Mapping[str, Any]) -> bool:
    schema = inputs.get("schema")
    return names.JSON in _types(inputs) and isinstance(schema, dict) and "properties" in schema


def _contents(part: Mapping[str, Any], component: str) -> Schema:
    found: Schema = {}
    for kind in _types(part):
        if kind == names.JSON:
            found[kind] = {"schema": ref(component) if "schema" in part else {}}
        elif kind == "text/plain":
            found[kind] = {"schema": {"type": "string"}}
        else:
            found[kind] = {"schema": _BINARY}
    return found


def _components(component: str, part: Mapping[str, Any], *, is_form: bool) -> dict[str, Schema]:
    """Return a schema as a component, and its definitions as others."""
    schema = part.get("schema")
    if not isinstance(schema, dict):
        return {}
    schema = dict(schema)
    shared = schema.pop("$defs", {})
    found = {component: _renamed(schema, component, is_form=is_form)}
    if isinstance(shared, dict):
        for name, one in shared.items():
            found[_name(component, name)] = _renamed(one, component, is_form=is_form)
    return found


def _name(component: str, definition: str) -> str:
    kept = "".join(
        letter if letter.isascii() and letter.isalnum() else "_" for letter in definition
    )
    return f"{component}{kept[:1].upper()}{kept[1:]}"


def _renamed(schema: Any, component: str, *, is_form: bool) -> Any:
    """Return a schema whose references are to components; a file in JSON is a text."""
    if isinstance(schema, list):
        return [_renamed(one, component, is_form=is_form) for one in schema]
    if not isinstance(schema, dict):
        return schema
    renamed = {name: _renamed(one, component, is_form=is_form) for name, one in schema.items()}
    reference = renamed.get("$ref")
    if isinstance(reference, str) and reference.startswith("#/$defs/"):
        name = reference.removeprefix("#/$defs/")
        renamed["$ref"] = f"#/components/schemas/{_name(component, name)}"
    if renamed.get("format") == "binary" and renamed.get("type") == "string":
        # Generators take `binary` for bytes; in JSON it is a data URL, in a form the file itself.
        del renamed["pattern" if is_form and "pattern" in renamed else "format"]
        if not is_form and renamed.get("pattern") == DATA_URL:
            return {"anyOf": [renamed, REFERENCE]}
    return renamed


def _of_one_service(item: Schema) -> Schema:
    """Return the operations of a path, without the parameter that names the service."""
    copied = {name: dict(one) if isinstance(one, dict) else one for name, one in item.items()}
    copied["parameters"] = [one for one in item.get("parameters", []) if one["name"] != "service"]
    for operation in copied.values():
        if isinstance(operation, dict) and "responses" in operation:
            operation["responses"] = {
                status: dict(one) for status, one in operation["responses"].items()
            }
    return copied


def _set_body(item: Schema, method: str, content: Schema) -> None:
    item[method]["requestBody"] = {
        "required": True,
        "description": "The input.",
        "content": content,
    }
