"""Putting many jobs at once: a line of JSON for each, and a line for what became of it."""

import asyncio
import base64
import binascii
import json
from collections.abc import Iterator
from typing import Any

from aiohttp import web

from client_sdk.wire import names
from queue_service.errors import BadParameter, FrameTooBig, ServiceError
from queue_service.service import Service
from queue_service.store.owners import plain_name
from queue_service.store.putter import Putter
from queue_service.web.body import read_body
from queue_service.web.jobs import problem
from queue_service.web.jobs.options import read_options
from queue_service.web.jobs.show import path_of
from queue_service.web.jobs.submission import to_submission
from queue_service.web.keys import REQUEST_IDS, SETTINGS
from queue_service.web.middleware import STATUS
from queue_service.web.tokens import check_admission

NDJSON = "application/x-ndjson"
#: The largest body of many jobs, in bytes, and the most lines.
MAX_BATCH_BYTES = 64 * 1024 * 1024
MAX_BATCH_LINES = 10_000
#: So many are put at a time, and so many bytes: others are served in between.
STEP, STEP_BYTES = 256, 1024 * 1024
#: What a line may take beside its input, in bytes.
FRAMING_BYTES = 64 * 1024


async def put_batch(
    request: web.Request, service: Service, putter: Putter | None
) -> web.StreamResponse:
    """Put a job for each line; answer with a line for each, in their order."""
    settings = request.app[SETTINGS]
    body = await read_body(request, limit_bytes=MAX_BATCH_BYTES, timeout_s=settings.body_timeout_s)
    breaks = body.count(b"\n")
    # What has far too many is not even cut up.
    lines = body.split(b"\n") if breaks <= 2 * MAX_BATCH_LINES else []
    lines = [line for line in lines if line.strip()]
    if not 0 < len(lines) <= MAX_BATCH_LINES:
        came = f"{len(lines) or breaks} lines"
        raise BadParameter("body", f"1 to {MAX_BATCH_LINES} lines of JSON", came)
    response = web.StreamResponse()
    response.content_type = NDJSON
    await response.prepare(request)
    for step in _steps(lines):
        check_admission(request)
        outcomes = await asyncio.gather(
            *(_put_line(request, service, putter, number, line) for number, line in step)
        )
        text = "".join(json.dumps(outcome) + "\n" for outcome in outcomes)
        await response.write(text.encode())
    await response.write_eof()
    return response


def _steps(lines: list[bytes]) -> Iterator[list[tuple[int, bytes]]]:
    """Give the lines with their numbers, some at a time."""
    step: list[tuple[int, bytes]] = []
    size = 0
    for number, line in enumerate(lines, 1):
        if step and (len(step) == STEP or size + len(line) > STEP_BYTES):
            yield step
            step, size = [], 0
        step.append((number, line))
        size += len(line)
    yield step


async def _put_line(
    request: web.Request, service: Service, putter: Putter | None, number: int, line: bytes
) -> dict[str, object]:
    given: dict[str, Any] = {}
    try:
        # JSON may take two bytes for one; more of them are not even read.
        limit = 2 * service.input.limits.payload_bytes + FRAMING_BYTES
        if len(line) > limit:
            raise FrameTooBig(len(line), limit)
        given, data = _parse(line)
        most_s = request.app[SETTINGS].max_not_before_s
        options = read_options(given, most_not_before_s=most_s)
        job_id = options.id or request.app[REQUEST_IDS].next()
        asked = json.dumps(given, sort_keys=True)
        submission = to_submission(
            service, options, data, job_id=job_id, asked=asked, putter=putter
        )
        is_new, name = await service.tickets.submit(submission)
        job_id = plain_name(name)
    except KeyError as standing:
        return _refusal(number, problem.conflict(standing.args[0], 409 if options.id else 422))
    except ServiceError as error:
        return _refusal(number, error)
    return {
        "line": number,
        "status": 202 if is_new else 200,
        "id": job_id,
        "location": path_of(service.name, job_id),
    }


def _refusal(number: int, error: ServiceError) -> dict[str, object]:
    status = problem.status_of(error, STATUS.get(type(error), 500))
    return {"line": number, "status": status, "problem": problem.describe(error, status)}


def _shown(line: bytes) -> str:
    return repr(line[:64].decode("utf-8", "replace"))


def _parse(line: bytes) -> tuple[dict[str, Any], bytes]:
    """Read {"input": ...} or {"input_base64": ...} and options; give the options and the input."""
    try:
        given = json.loads(line, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise BadParameter("line", "a JSON object", _shown(line)) from None
    if not isinstance(given, dict):
        raise BadParameter("line", "a JSON object", _shown(line))
    if ("input" in given) == ("input_base64" in given):
        raise BadParameter("input", "either input or input_base64", "both or neither")
    if "input_base64" in given:
        text = given.pop("input_base64")
        try:
            return given, base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError, TypeError):
            raise BadParameter("input_base64", "bytes in base64", repr(text)[:64]) from None
    data = given.pop("input")
    if not isinstance(data, str):
        given.setdefault("content_type", names.JSON)
    try:
        is_text = isinstance(data, str)
        text = data if is_text else json.dumps(data, ensure_ascii=False, allow_nan=False)
        return given, text.encode()
    except ValueError:
        # A number beyond all, or half a character: an engine could not read it back.
        raise BadParameter("input", "JSON that can be written again", _shown(line)) from None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")
