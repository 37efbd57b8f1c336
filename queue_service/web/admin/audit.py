"""The API for the audit log: who asked for which change, when and from where."""

import re
from dataclasses import asdict

from aiohttp import web

from queue_service.errors import BadParameter
from queue_service.service.usage import moment
from queue_service.store.audit import STEP
from queue_service.web.keys import AUDIT
from queue_service.web.parameters import Parameters
from queue_service.web.strict_json import json_response

#: The most entries of one answer.
MOST_LISTED = 1000
# Nothing is before 0-0, and Redis refuses to look there.
_ID = re.compile("[1-9][0-9]{0,14}-[0-9]{1,9}")


async def list_audit(request: web.Request) -> web.Response:
    """List the entries, the newest first."""
    parameters, kept = Parameters(request), request.app[AUDIT]
    limit = parameters.number("limit", default=100, least=1, most=MOST_LISTED)
    before, service = parameters.text("before"), parameters.text("service")
    who = parameters.text("who")
    if before and not _ID.fullmatch(before):
        raise BadParameter("before", "`next` of an earlier answer", repr(before[:64]))
    entries: list[dict[str, object]] = []
    # A filter may pass over many entries, so it reads more of them at a time.
    most = STEP if who or service else limit
    while part := await kept.read(before, most):
        for entry_id, entry in part:
            before = entry_id
            if service in ("", entry.service) and who in ("", entry.who):
                at = moment(int(entry_id.partition("-")[0]))
                entries.append({"id": entry_id, "at": at, **asdict(entry)})
            if len(entries) == limit:
                return json_response({"entries": entries, "next": before})
    return json_response({"entries": entries, "next": None})
