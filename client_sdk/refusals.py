"""From an error response, of the service or of a proxy before it, to an exception."""

import contextlib
import json
from collections.abc import Mapping

from client_sdk.errors import (
    BadMessage,
    BadParameter,
    Conflict,
    Draining,
    FilesFull,
    FilesUnavailable,
    Forbidden,
    FrameTooBig,
    Gone,
    HostNotAllowed,
    IdInUse,
    InvalidInput,
    JobEnded,
    JobNotEnded,
    LeaseHeld,
    LeaseLost,
    NewerFormat,
    NoFileStore,
    NoResult,
    NoSuchService,
    NotFound,
    NoUpgrade,
    OriginNotAllowed,
    OutcomeUnknown,
    Overloaded,
    QueueEnded,
    QueueError,
    QueueFull,
    QuotaExceeded,
    Refused,
    RequestIdInUse,
    ServerFault,
    ServiceStopped,
    StoreUnavailable,
    Unauthorized,
    Unavailable,
)
from client_sdk.plain_text import without_login
from client_sdk.wire import names
from client_sdk.wire.codes import Code

_OF_EVERY_PROBLEM = frozenset({"type", "title", "status", "detail", "code"})

#: The most characters of an error response that are quoted; a gateway's error page can be long.
MAX_SENTENCE_LENGTH = 500

_BY_CODE: dict[str, type[QueueError]] = {
    Code.UNAUTHORIZED: Unauthorized,
    Code.FORBIDDEN: Forbidden,
    Code.HOST_NOT_ALLOWED: HostNotAllowed,
    Code.ORIGIN_NOT_ALLOWED: OriginNotAllowed,
    Code.NO_SUCH_SERVICE: NoSuchService,
    Code.SERVICE_STOPPED: ServiceStopped,
    Code.CONFLICT: Conflict,
    Code.NOT_FOUND: NotFound,
    Code.BAD_PARAMETER: BadParameter,
    Code.INVALID_INPUT: InvalidInput,
    Code.BAD_MESSAGE: BadMessage,
    Code.UPGRADE_REQUIRED: NoUpgrade,
    Code.FRAME_TOO_BIG: FrameTooBig,
    Code.FILES_FULL: FilesFull,
    Code.FILES_UNAVAILABLE: FilesUnavailable,
    Code.NO_FILE_STORE: NoFileStore,
    Code.QUEUE_FULL: QueueFull,
    Code.QUOTA_EXCEEDED: QuotaExceeded,
    Code.REQUEST_ID_IN_USE: RequestIdInUse,
    Code.QUEUE_ENDED: QueueEnded,
    Code.LEASE_HELD: LeaseHeld,
    Code.LEASE_LOST: LeaseLost,
    Code.ID_IN_USE: IdInUse,
    Code.NO_RESULT: NoResult,
    Code.GONE: Gone,
    Code.ENDED: JobEnded,
    Code.NOT_ENDED: JobNotEnded,
    Code.STORE_UNAVAILABLE: StoreUnavailable,
    Code.OUTCOME_UNKNOWN: OutcomeUnknown,
    Code.DRAINING: Draining,
    Code.OVERLOADED: Overloaded,
    Code.NEWER_FORMAT: NewerFormat,
    Code.INTERNAL: ServerFault,
}

# For responses without a code, which come from a proxy before the service.
_BY_STATUS: dict[int, type[QueueError]] = {
    400: BadParameter,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    413: FrameTooBig,
    429: QueueFull,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


def from_answer(
    status: int, headers: Mapping[str, str], body: bytes = b"", *, url: str = ""
) -> QueueError:
    """Return the exception for a response with an error status.

    headers: a mapping that ignores case, such as aiohttp's.
    """
    code = headers.get(names.ERROR_CODE_HEADER, "")
    sentence = _sentence(headers, body) or f"the response had status {status} and no explanation"
    if is_redirect(status) and (target := headers.get("Location", "")):
        # A proxy that sends http:// to https://, or a wrong path.  Its page explains nothing.
        sentence = (
            f"the response redirects to {without_login(target)[:MAX_SENTENCE_LENGTH]}, and "
            "redirects are not followed: use the address of the queue service itself"
        )
    kind = _BY_CODE.get(code) or _BY_STATUS.get(status)
    if kind is None:
        kind = Refused if 400 <= status < 500 else ServerFault
    return kind(sentence, code=code, status=status, url=url, fields=_fields(headers, body))


def is_redirect(status: int) -> bool:
    """Return whether a response names another address instead of an answer."""
    return 300 <= status < 400


def _fields(headers: Mapping[str, str], body: bytes) -> dict[str, object]:
    """Return the extension members of problem details (RFC 9457), and the name that was meant."""
    meant = headers.get(names.MEANT_HEADER)
    fields: dict[str, object] = {"meant": meant} if meant else {}
    if not headers.get("Content-Type", "").startswith(names.PROBLEM_JSON):
        return fields
    with contextlib.suppress(ValueError, RecursionError):
        members = json.loads(body)
        if isinstance(members, dict):
            members = {
                name: value for name, value in members.items() if name not in _OF_EVERY_PROBLEM
            }
            return fields | members
    return fields


def _sentence(headers: Mapping[str, str], body: bytes) -> str:
    text = body.decode(errors="replace").strip()
    for kind, member in ((names.JSON, "message"), (names.PROBLEM_JSON, "detail")):
        if headers.get("Content-Type", "").startswith(kind):
            # If the body is not one of our errors, its raw text is the best explanation.
            with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError):
                text = str(json.loads(text)[member])
    return text[:MAX_SENTENCE_LENGTH]
