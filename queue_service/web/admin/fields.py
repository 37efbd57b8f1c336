"""Reading a JSON object from the body of a request to the admin API."""

import json
from typing import Any

from aiohttp import web

from queue_service.errors import BadParameter
from queue_service.web.body import read_body
from queue_service.web.keys import SETTINGS


async def read_fields(request: web.Request, *, limit_bytes: int, what: str) -> dict[str, Any]:
    """Return the JSON object in the body; empty for an empty body.  what: what it is one of."""
    body = await read_body(
        request,
        limit_bytes=limit_bytes,
        timeout_s=request.app[SETTINGS].body_timeout_s,
        is_fixed=True,
    )
    try:
        fields = json.loads(body or b"{}")
        # JSON can hold half of a surrogate pair, and nothing else can.
        json.dumps(fields, ensure_ascii=False).encode()
    except ValueError as error:
        raise BadParameter("the body", "JSON", str(error)) from None
    except RecursionError:
        raise BadParameter("the body", "JSON", "brackets nested too deep") from None
    if not isinstance(fields, dict):
        raise BadParameter("the body", f"an object of {what}", type(fields).__name__)
    return fields
