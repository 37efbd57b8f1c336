"""One pure function per operation of the Batch API: from arguments to a request.  No I/O."""

import json
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from client_sdk import errors
from client_sdk.calls import Answer, Call, Retry
from client_sdk.openai_lists import Page, object_of, page_call
from client_sdk.wire import names
from client_sdk.wire.errors import WireError

#: The batches of one page of a list, which is the most.
PAGE = 100
#: The final states of a batch.
FINAL = frozenset({"completed", "failed", "expired", "cancelled"})
#: One request: its fields, or its line of JSON.
BatchLine = Mapping[str, Any] | str | bytes


@dataclass(frozen=True, slots=True)
class BatchInfo:
    """A batch as the service described it.

    total, completed, failed: lines.  output_file_id, error_file_id: "" while there is no such file.
    created_at, expires_at: seconds since 1970.  data: all fields of the response.
    """

    id: str
    status: str
    endpoint: str
    total: int
    completed: int
    failed: int
    output_file_id: str
    error_file_id: str
    created_at: int
    expires_at: int
    data: Mapping[str, Any] = field(repr=False)

    @property
    def has_ended(self) -> bool:
        return self.status in FINAL

    @property
    def problems(self) -> tuple[str, ...]:
        """Why it failed, one sentence each."""
        found = (self.data.get("errors") or {}).get("data") or ()
        return tuple(
            f"line {one['line']}: {one.get('message')}" if one.get("line") else str(one["message"])
            for one in found
        )


@dataclass(frozen=True, slots=True)
class BatchResult:
    """The result of one line.

    status: of the response; None if the line did not run.  body: the response, or the error of a
    request that failed.  error: why it did not run, None if it did.  data: all fields of the line.
    """

    custom_id: str
    status: int | None
    body: Any
    error: Mapping[str, Any] | None
    data: Mapping[str, Any] = field(repr=False)

    @property
    def succeeded(self) -> bool:
        return self.status is not None and self.status < 400


def create(wanted: Mapping[str, Any]) -> Call[BatchInfo]:
    """Make a batch."""
    return Call(
        "create",
        "POST",
        _batch,
        body=json.dumps(wanted).encode(),
        headers={"Content-Type": names.JSON},
        # A second batch would run every line again.
        retry=Retry.IF_NOT_DONE,
    )


def page(*, after: str) -> Call[Page[BatchInfo]]:
    """List batches, the newest first."""
    return page_call(_batch_of, limit=PAGE, after=after)


def get(batch_id: str) -> Call[BatchInfo]:
    """Describe a batch."""
    return Call("get", "GET", _batch, path=_path(batch_id))


def cancel(batch_id: str) -> Call[BatchInfo]:
    """Cancel a batch."""
    return Call("cancel", "POST", _batch, path=f"{_path(batch_id)}/cancel")


def lines_path(batch_id: str, *, of_errors: bool) -> str:
    """Return the path of the results."""
    return f"{names.BATCHES_PATH}{_path(batch_id)}/{'errors' if of_errors else 'output'}"


def line_prefix(batch_id: str) -> str:
    """Return what the `id` of each line of a batch's results begins with."""
    return f"batch_req_{batch_id.removeprefix('batch_')}_"


def content(
    lines: Iterable[BatchLine] | AsyncIterable[BatchLine], endpoint: str
) -> Iterator[bytes] | AsyncIterator[bytes]:
    """Return the file that these lines become; reading it raises BadParameter."""
    if isinstance(lines, AsyncIterable):
        return _content_async(lines, endpoint)
    return (_line(number, one, endpoint) for number, one in enumerate(lines, 1))


def result(line: bytes) -> BatchResult:
    """Read a line of a result; raises BadMessage."""
    try:
        data = json.loads(line)
        response = data["response"] or {}
        return BatchResult(
            custom_id=str(data["custom_id"]),
            status=response.get("status_code"),
            body=response.get("body"),
            error=data["error"],
            data=data,
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        raise errors.BadMessage(f"expected a line of a result, got {line[:80]!r}") from None


async def _content_async(lines: AsyncIterable[BatchLine], endpoint: str) -> AsyncIterator[bytes]:
    number = 0
    async for one in lines:
        number += 1
        yield _line(number, one, endpoint)


def _line(number: int, one: BatchLine, endpoint: str) -> bytes:
    if isinstance(one, Mapping):
        try:
            return _json({"method": "POST", "url": endpoint, **one}) + b"\n"
        except (TypeError, ValueError, RecursionError) as error:
            raise errors.BadParameter(f"line {number}: expected JSON, {error}") from None
    if not isinstance(one, str | bytes):
        came = type(one).__name__
        raise errors.BadParameter(f"line {number}: expected a mapping, text or bytes, got {came}")
    text = (one.encode() if isinstance(one, str) else one).strip(b"\r\n")
    if b"\n" in text:
        raise errors.BadParameter(f"line {number}: expected one line, got several")
    return text + b"\n"


def _json(value: object) -> bytes:
    return json.dumps(value, allow_nan=False).encode()


def _path(batch_id: str) -> str:
    return f"/{quote(batch_id, safe='')}"


def _batch(answer: Answer) -> BatchInfo:
    return _batch_of(object_of(answer))


def _batch_of(data: Any) -> BatchInfo:
    try:
        counts = data["request_counts"]
        return BatchInfo(
            id=str(data["id"]),
            status=str(data["status"]),
            endpoint=str(data["endpoint"]),
            total=int(counts["total"]),
            completed=int(counts["completed"]),
            failed=int(counts["failed"]),
            output_file_id=str(data.get("output_file_id") or ""),
            error_file_id=str(data.get("error_file_id") or ""),
            created_at=int(data["created_at"]),
            expires_at=int(data["expires_at"]),
            data=data,
        )
    except (KeyError, TypeError, ValueError):
        raise WireError("the description of a batch", repr(data)[:80]) from None
