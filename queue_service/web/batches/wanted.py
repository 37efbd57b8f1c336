"""The body of POST /v1/batches: read and checked."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from client_sdk.wire.duration import parse_duration
from client_sdk.wire.errors import WireError
from queue_service.errors import BadParameter
from queue_service.web.batches.line_format import ENDPOINTS
from queue_service.web.files.about import LEAST_KEPT_S, MOST_KEPT_S
from queue_service.web.strict_json import TOO_DEEP, no_constant

#: The largest body, which may contain the requests, in bytes.
MAX_BODY_BYTES = 4 * 1024 * 1024
#: The shortest and the longest completion window, in seconds: a second, 30 days.
LEAST_WINDOW_S, MOST_WINDOW_S = 1.0, 30 * 24 * 3600.0
#: OpenAI's bounds of `metadata`.
MAX_METADATA, MAX_KEY, MAX_VALUE = 16, 64, 512

_FIELDS = frozenset({"completion_window", "endpoint", "input_file_id", "requests"})
_FIELDS |= {"metadata", "output_expires_after"}
_DAYS = re.compile(r"([0-9]{1,3})d")


@dataclass(frozen=True, slots=True)
class WantedBatch:
    """What the client asks for.  Either input_file_id or requests is there."""

    endpoint: str
    completion_window: str
    window_s: float
    metadata: Mapping[str, str]
    kept_s: int | None
    input_file_id: str
    requests: tuple[Mapping[str, Any], ...]


def read_wanted(body: bytes) -> WantedBatch:
    """Read the body; raises BadParameter."""
    wanted = _object(body)
    if unknown := next(iter(wanted.keys() - _FIELDS), None):
        raise BadParameter(unknown[:64], f"one of {', '.join(sorted(_FIELDS))}", "another")
    endpoint = wanted.get("endpoint")
    if not isinstance(endpoint, str) or endpoint not in ENDPOINTS:
        raise BadParameter("endpoint", f"one of {', '.join(ENDPOINTS)}", _came(endpoint))
    window = wanted.get("completion_window")
    file_id, requests = wanted.get("input_file_id"), wanted.get("requests")
    if (file_id is None) == (requests is None):
        came = "neither" if file_id is None else "both"
        raise BadParameter("input_file_id", "the id of a file, or requests in its place", came)
    if file_id is not None and not (isinstance(file_id, str) and file_id):
        raise BadParameter("input_file_id", "the id of a file", _came(file_id))
    return WantedBatch(
        endpoint=endpoint,
        completion_window=str(window),
        window_s=_window_s(window),
        metadata=_metadata(wanted.get("metadata")),
        kept_s=_kept_s(wanted.get("output_expires_after")),
        input_file_id=file_id or "",
        requests=_requests(requests, endpoint),
    )


def _object(body: bytes) -> dict[str, Any]:
    try:
        wanted = json.loads(body, parse_constant=no_constant)
    except ValueError as error:
        raise BadParameter("the body", "JSON", str(error)) from None
    except RecursionError:
        raise BadParameter("the body", "JSON", TOO_DEEP) from None
    if not isinstance(wanted, dict):
        raise BadParameter("the body", "a JSON object", _came(wanted))
    return wanted


def _window_s(window: object) -> float:
    expected = "a duration from 1s to 30d, such as 24h"
    if not isinstance(window, str):
        raise BadParameter("completion_window", expected, _came(window))
    try:
        days = _DAYS.fullmatch(window)
        window_s = int(days[1]) * 24 * 3600.0 if days else parse_duration(window)
    except WireError:
        raise BadParameter("completion_window", expected, _came(window)) from None
    if not LEAST_WINDOW_S <= window_s <= MOST_WINDOW_S:
        raise BadParameter("completion_window", expected, _came(window))
    return window_s


def _metadata(metadata: object) -> dict[str, str]:
    if metadata is None:
        return {}
    expected = (
        f"at most {MAX_METADATA} texts, their names of up to {MAX_KEY} characters and the texts of "
        f"up to {MAX_VALUE}"
    )
    is_right = (
        isinstance(metadata, dict)
        and len(metadata) <= MAX_METADATA
        and all(len(key) <= MAX_KEY for key in metadata)
        and all(isinstance(text, str) and len(text) <= MAX_VALUE for text in metadata.values())
    )
    if not is_right:
        raise BadParameter("metadata", expected, _came(metadata))
    assert isinstance(metadata, dict)
    return metadata


def _kept_s(expires_after: object) -> int | None:
    if expires_after is None:
        return None
    expected = (
        '{"anchor": "created_at", "seconds": N} with N a whole number from '
        f"{LEAST_KEPT_S} to {MOST_KEPT_S}"
    )
    seconds = expires_after.get("seconds") if isinstance(expires_after, dict) else None
    is_right = (
        isinstance(expires_after, dict)
        and expires_after.keys() <= {"anchor", "seconds"}
        and expires_after.get("anchor", "created_at") == "created_at"
        and type(seconds) is int
        and LEAST_KEPT_S <= seconds <= MOST_KEPT_S
    )
    if not is_right:
        raise BadParameter("output_expires_after", expected, _came(expires_after))
    return seconds if isinstance(seconds, int) else None


def _requests(requests: object, endpoint: str) -> tuple[Mapping[str, Any], ...]:
    if requests is None:
        return ()
    if not isinstance(requests, list) or not requests:
        raise BadParameter("requests", "a list of at least one request", _came(requests))
    if not all(isinstance(request, dict) for request in requests):
        raise BadParameter("requests", "objects with custom_id and body", "others")
    return tuple({"method": "POST", "url": endpoint, **request} for request in requests)


def _came(value: object) -> str:
    return "nothing" if value is None else repr(value)[:64]
