"""Reading the bodies of requests to the admin API."""

import json
from typing import Any, TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError

from queue_service.errors import BadParameter
from queue_service.settings.wrong_fields import wrong_fields
from queue_service.web.body import read_body
from queue_service.web.keys import SETTINGS

Model = TypeVar("Model", bound=BaseModel)


async def read_model(request: web.Request, model: type[Model], *, limit_bytes: int) -> Model:
    """Return the JSON in the body as a model; raises BadParameter for the first wrong field."""
    body = await _read(request, limit_bytes)
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise _first_mistake(error, model) from None


async def read_fields(request: web.Request, *, limit_bytes: int, what: str) -> dict[str, Any]:
    """Return the JSON object in the body; empty for an empty body.  what: what it is one of."""
    body = await _read(request, limit_bytes)
    try:
        fields = json.loads(body or b"{}")
        # JSON can hold half of a surrogate pair, and nothing else can.
        json.dumps(fields, ensure_ascii=False).encode()
    except ValueError as error:
        raise BadParameter("the body", "JSON", str(error)) from None
    if not isinstance(fields, dict):
        raise BadParameter("the body", f"an object of {what}", type(fields).__name__)
    return fields


def to_model(fields: dict[str, Any], model: type[Model]) -> Model:
    """Return fields as a model; raises BadParameter for the first wrong one."""
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise _first_mistake(error, model) from None


async def _read(request: web.Request, limit_bytes: int) -> bytes:
    timeout_s = request.app[SETTINGS].body_timeout_s
    return await read_body(request, limit_bytes=limit_bytes, timeout_s=timeout_s, is_fixed=True)


def _first_mistake(error: ValidationError, model: type[BaseModel]) -> BadParameter:
    first = next(wrong_fields(error, model, whole="the body"))
    return BadParameter(first.name, first.expected, first.came)
