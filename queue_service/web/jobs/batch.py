"""Many jobs in one request: a line of JSON for each, and a line of the response for each."""

import asyncio
import base64
import binascii
import json
from dataclasses import replace
from typing import Any

from aiohttp import web

from client_sdk.wire import names
from queue_service.errors import (
    BadParameter,
    CredentialEnded,
    FrameTooBig,
    IdInUse,
    ServiceError,
)
from queue_service.service.file_owners import owner_of
from queue_service.store.owners import plain_name
from queue_service.web.body import held_by, read_pieces
from queue_service.web.jobs import problem
from queue_service.web.jobs.lines import LineCutter, TooLong
from queue_service.web.jobs.options import read_options
from queue_service.web.jobs.show import path_of
from queue_service.web.jobs.submission import to_submission
from queue_service.web.jobs.webhook import webhook_of
from queue_service.web.keys import REQUEST_IDS, SETTINGS
from queue_service.web.payload import Payload
from queue_service.web.references import resolving
from queue_service.web.routing import Caller
from queue_service.web.strict_json import TOO_DEEP, dumps, no_constant
from queue_service.web.tokens import check_admission, settle

NDJSON = "application/x-ndjson"
#: The largest body after decompression, in bytes, and the most lines.
MAX_BATCH_BYTES = 64 * 1024 * 1024
MAX_BATCH_LINES = 10_000
#: How many lines, and how many bytes, are put at once; other requests get a turn in between.
STEP, STEP_BYTES = 256, 1024 * 1024
#: The size of a line beside its input, in bytes.
FRAMING_BYTES = 64 * 1024


async def put_batch(request: web.Request, caller: Caller) -> web.Response:
    """Put a job for each line as it arrives; answer with a line for each, in the same order.

    An error of the body as a whole is the status of the response while nothing has been put, and
    its last line afterwards.
    """
    batch = _Batch(request, caller)
    try:
        await batch.read()
    except CredentialEnded:
        raise
    except ServiceError as error:
        if not batch.outcomes:
            raise
        # Each complete line gets its outcome, although what follows it is wrong.
        await batch.put_step()
        batch.add(_refusal(batch.lines + 1, error))
    # Only after the body: most clients read nothing before they have sent everything.
    settle(request)
    return web.Response(body="".join(batch.outcomes).encode(), content_type=NDJSON)


class _Batch:
    """The lines of one body, and their outcomes.

    lines: how many there were.  outcomes: a line of the response for each.
    """

    def __init__(self, request: web.Request, caller: Caller) -> None:
        self.lines = 0
        self.outcomes: list[str] = []
        self._outcomes_bytes = 0
        self._request = request
        self._caller = caller
        # JSON may need two bytes for one; longer lines are not even kept.
        self._line_bytes = 2 * caller.service.input.limits.read_bytes + FRAMING_BYTES
        self._step: list[tuple[int, bytes | TooLong]] = []
        self._step_bytes = 0

    async def read(self) -> None:
        """Read and put everything; raises an error of the body as a whole."""
        timeout_s = self._request.app[SETTINGS].body_timeout_s
        cutter, held = LineCutter(self._line_bytes), held_by(self._request)
        size = breaks = 0
        async for piece in read_pieces(self._request, timeout_s=timeout_s):
            size += len(piece)
            breaks += piece.count(b"\n")
            if size > MAX_BATCH_BYTES:
                await self.put_step()
                raise FrameTooBig(None, MAX_BATCH_BYTES, is_fixed=True)
            if breaks > 2 * MAX_BATCH_LINES:
                # A body with far too many is not even split: that costs more than decompression.
                await self.put_step()
                raise _not_so_many(f"{breaks} lines or more")
            for line in cutter.cut(piece):
                await self._take(line)
            held.set(cutter.kept_bytes + self._step_bytes + self._outcomes_bytes)
        for line in cutter.last():
            await self._take(line)
        await self.put_step()
        if not self.lines:
            raise _not_so_many(f"{breaks} lines")

    def add(self, outcome: dict[str, object]) -> None:
        """Add the outcome of a line."""
        text = dumps(outcome) + "\n"
        self.outcomes.append(text)
        self._outcomes_bytes += len(text)

    async def _take(self, line: bytes | TooLong) -> None:
        size = len(line) if isinstance(line, bytes) else 0
        if self._step and (len(self._step) == STEP or self._step_bytes + size > STEP_BYTES):
            await self.put_step()
        if self.lines == MAX_BATCH_LINES:
            await self.put_step()
            raise _not_so_many("more")
        self.lines += 1
        self._step.append((self.lines, line))
        self._step_bytes += size

    async def put_step(self) -> None:
        """Put the lines that have been read and not yet put."""
        step, self._step, self._step_bytes = self._step, [], 0
        check_admission(self._request)
        for outcome in await asyncio.gather(*(self._put(number, line) for number, line in step)):
            self.add(outcome)

    async def _put(self, number: int, line: bytes | TooLong) -> dict[str, object]:
        if isinstance(line, TooLong):
            return _refusal(number, FrameTooBig(line.size, self._line_bytes))
        return await _put_line(self._request, self._caller, number, line)


async def _put_line(
    request: web.Request, caller: Caller, number: int, line: bytes
) -> dict[str, object]:
    service = caller.service
    given: dict[str, Any] = {}
    try:
        given, data = _parse(line)
        most_s = request.app[SETTINGS].max_not_before_s
        options = read_options(given, most_not_before_s=most_s)
        await service.interfaces.check(data, content_type=options.content_type, path=options.path)
        webhook = await webhook_of(request, caller.service, options)
        job_id = options.id or request.app[REQUEST_IDS].next()
        asked = json.dumps(given, sort_keys=True)
        files_of, limits = owner_of(caller.token or service), service.input.limits
        async with resolving(Payload(data), service.files, files_of, limits) as payload:
            submission = to_submission(
                service, options, payload, job_id=job_id, asked=asked, putter=caller.putter
            )
            submitted = await service.tickets.submit(replace(submission, webhook=webhook))
        job_id = plain_name(submitted.name)
    except IdInUse as error:
        return _refusal(number, problem.conflict(error, 409 if options.id else 422))
    except ServiceError as error:
        return _refusal(number, error)
    except RecursionError:
        return _refusal(number, BadParameter("line", "JSON", TOO_DEEP))
    return {
        "line": number,
        "status": 202 if submitted.is_new else 200,
        "id": job_id,
        "location": path_of(service.name, job_id),
    }


def _not_so_many(came: str) -> BadParameter:
    return BadParameter("body", f"1 to {MAX_BATCH_LINES} lines of JSON", came)


def _refusal(number: int, error: ServiceError) -> dict[str, object]:
    status = problem.ERRORS.status_of(error)
    return {"line": number, "status": status, "problem": problem.describe(error, status)}


def _shown(line: bytes) -> str:
    return repr(line[:64].decode("utf-8", "replace"))


def _parse(line: bytes) -> tuple[dict[str, Any], bytes]:
    """Read a line: `input` or `input_base64`, and options; return the options and the input."""
    try:
        given = json.loads(line, parse_constant=no_constant)
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
        # An infinite number, or half of a surrogate pair: an engine could not read it.
        raise BadParameter("input", "JSON that can be written again", _shown(line)) from None
