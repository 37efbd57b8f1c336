"""What an engine declares of its inputs and outputs, as JSON for the queue service.

    {"description": "Paints what you describe.",
     "input": {"content_types": ["application/json"], "schema": {...}, "envelope": "input"},
     "output": {"content_types": ["image/png"], "schema": {...}}}

schema: JSON Schema 2020-12.  A payload of the content type JSON must match it.  If there are other
content types, a payload that is no JSON object is one of these.  envelope: the input may be the
member of this name in an object.  Each part is optional.
"""

import json
import logging
from collections.abc import Mapping
from typing import Any

from client_sdk.wire.greeting import MAX_INTERFACE_BYTES

log = logging.getLogger(__name__)


def encoded_interface(
    inputs: Mapping[str, Any], output: Mapping[str, Any], about: str = ""
) -> bytes:
    """Return both as JSON; empty if neither is declared, or if they are too large.

    about: what the handler does, for people.
    """
    parts = {"input": inputs, "output": output}
    declared: dict[str, Any] = {name: part for name, part in parts.items() if part}
    if not declared:
        return b""
    if about:
        declared["description"] = about
    try:
        # In the order of their declaration, which is that of the form on the page of the service.
        encoded = json.dumps(declared, allow_nan=False).encode()
    except (TypeError, ValueError) as error:
        log.warning("The schema is not published, because it is no JSON: %s", error)
        return b""
    if len(encoded) > MAX_INTERFACE_BYTES:
        log.warning(
            "The schema is not published, because it has %d bytes and at most %d are allowed.",
            len(encoded),
            MAX_INTERFACE_BYTES,
        )
        return b""
    return encoded
