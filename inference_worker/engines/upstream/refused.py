"""The failures that a server's response means.  Pure."""

import json
from typing import Any

from inference_worker.engines.classify import BUSY_STATUSES
from inference_worker.engines.engine import Failed

#: The connection to the server was lost, or its response was incomplete.
UPSTREAM_DOWN = "UpstreamDown"
#: The server did not respond in time.
UPSTREAM_TIMEOUT = "UpstreamTimeout"
#: The response does not fit the mode.
UPSTREAM_GARBAGE = "UpstreamGarbage"
#: The server reported an error in the middle of a stream.
UPSTREAM_ERROR = "UpstreamError"

#: The longest cool-down of a slot, in seconds, whatever `Retry-After` the server sends.
LONGEST_COOLDOWN_S = 30.0
#: The same for a server that sends no `Retry-After`.
DEFAULT_COOLDOWN_S = 1.0

#: Statuses from 400 to 499 after which the same request may succeed.
_LATER = (408, 425, 429)

#: The longest body of an error that is passed on unchanged, in bytes; it has to fit into a sink.
_LONG_ERROR_BYTES = 4096
#: The longest message in a longer one, in characters; servers quote whole requests.
_MOST_MESSAGE = 2000

#: The statuses of the types of errors inside a stream, as OpenAI, vLLM and TGI name them.
_STATUSES = {
    "invalid_request_error": 400,
    "BadRequestError": 400,
    "exceed_context_size_error": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "NotFoundError": 404,
    "rate_limit_error": 429,
    "overloaded_error": 503,
    "unavailable_error": 503,
    "validation": 422,
    "overloaded": 429,
}


class Refused(Exception):
    """The response means that the job has failed."""

    def __init__(self, code: str, message: str, *, retryable: bool = True) -> None:
        super().__init__(message)
        self.failed = Failed(code, message, retryable=retryable)

    @classmethod
    def inside_stream(cls, error: Any) -> "Refused":
        """Return what an error inside a stream means; the client gets it unchanged."""
        if not isinstance(error, dict):
            error = {"message": str(error)}
        message = str(error.get("message") or json.dumps(error))
        refused, status = cls(UPSTREAM_ERROR, message), _status_of(error)
        data = with_short_message(json.dumps({"error": error}).encode())
        if status:
            refused.failed = failed_with(
                status, message, data=data, is_final=blames_request(status)
            )
        else:
            refused.failed = Failed(UPSTREAM_ERROR, message, data=data)
        return refused


def failed_with(
    status: int, message: str, *, data: bytes, is_final: bool, after_s: float | None = None
) -> Failed:
    """Return the failure for a status of the server.

    is_final: another attempt does not help.  after_s: the pause that the server requested.
    """
    is_busy = status in BUSY_STATUSES
    wanted_s = DEFAULT_COOLDOWN_S if after_s is None else after_s
    return Failed(
        str(status),
        message,
        retryable=not is_final,
        data=data,
        after_s=after_s,
        cooldown_s=min(wanted_s, LONGEST_COOLDOWN_S) if is_busy else 0.0,
        is_busy=is_busy,
    )


def blames_request(status: int) -> bool:
    """Return whether the same request would get this status again."""
    return 400 <= status < 500 and status not in _LATER


def with_short_message(
    body: bytes, *, most_bytes: int = _LONG_ERROR_BYTES, most_characters: int = _MOST_MESSAGE
) -> bytes:
    """Return the body of an error; if it is long, its message is cut and the rest stays readable.

    most_bytes: a shorter body is returned unchanged.
    """
    if len(body) <= most_bytes:
        return body
    try:
        read = json.loads(body)
    except (ValueError, RecursionError):
        return body
    holder = read.get("error") if isinstance(read, dict) else None
    holder = holder if isinstance(holder, dict) else read
    if not isinstance(holder, dict) or not isinstance(holder.get("message"), str):
        return body
    holder["message"] = holder["message"][:most_characters]
    return json.dumps(read, ensure_ascii=False).encode(errors="replace")


def _status_of(error: dict[str, Any]) -> int:
    """Return the HTTP status of an error inside a stream; 0 if it has none."""
    for name in ("code", "status", "status_code"):
        status = str(error.get(name) or "")
        if len(status) == 3 and status.isascii() and status.isdigit() and status >= "400":
            return int(status)
    return _STATUSES.get(str(error.get("type")), 0)
