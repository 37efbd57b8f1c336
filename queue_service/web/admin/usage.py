"""The API for usage: what each token has used of each service, by the hour.

The admin token sees all.  The token of a service sees everything of that service, and any other
token what it has used itself.
"""

import csv
import io
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from datetime import UTC, datetime

from aiohttp import web

from queue_service.errors import BadParameter
from queue_service.service.access import Token, now_ms
from queue_service.service.service import Service
from queue_service.service.usage import FIGURES, By, Prices, Report, TooManyRows, moment
from queue_service.store.usage import HOUR_MS, UsageRow
from queue_service.web.keys import SERVICES, SETTINGS, USAGE
from queue_service.web.parameters import Parameters
from queue_service.web.strict_json import json_response

#: The most rows of one report.
MOST_ROWS = 10_000
#: The latest time that a report may end, ms since 1970.
_LATEST_MS = 253_370_764_800_000
_DAY_MS = 86_400_000


async def get_usage(request: web.Request, admitted: Service | Token | None) -> web.Response:
    """Answer with what was used.  admitted: None for an operator."""
    parameters = Parameters(request)
    by, (from_ms, to_ms) = _by(parameters), _period(parameters)
    wanted, form = parameters.text("service"), parameters.text("format", "json")
    if form not in ("json", "csv"):
        raise BadParameter("format", "json or csv", repr(form[:64]))
    report = Report(by, Prices.of(request.app[SETTINGS]), most=MOST_ROWS)
    try:
        async with aclosing(_rows(request, admitted, wanted, from_ms, to_ms)) as found:
            async for service, rows in found:
                report.add(service, rows)
    except TooManyRows:
        raise BadParameter(
            "by", f"a report of at most {MOST_ROWS} rows: fewer names, or less time", ",".join(by)
        ) from None
    if form == "csv":
        return _as_csv(by, report)
    return json_response(
        {
            "from": moment(from_ms),
            "to": moment(to_ms),
            "by": by,
            "rows": report.rows(),
            "total": report.total(),
        }
    )


async def _rows(
    request: web.Request, admitted: Service | Token | None, wanted: str, from_ms: int, to_ms: int
) -> AsyncGenerator[tuple[str, Iterable[UsageRow]], None]:
    """Yield the rows that the caller may see, with the service of each."""
    store = request.app[USAGE]
    named = [(one.name, one.incarnation) for one in _services(request, admitted)]
    if admitted is None:
        named += await store.departed()
    # The last hour is the one that has the last millisecond before the end.
    hours = from_ms // HOUR_MS, (to_ms - 1) // HOUR_MS
    for service, incarnation in dict.fromkeys(named):
        if wanted and service != wanted:
            continue
        rows = (
            store.rows_of(service, incarnation, *hours, admitted.id)
            if isinstance(admitted, Token)
            else store.rows(service, incarnation, *hours)
        )
        async with aclosing(rows) as parts:
            async for part in parts:
                yield service, part


def _services(request: web.Request, admitted: Service | Token | None) -> Sequence[Service]:
    if isinstance(admitted, Service):
        return [admitted]
    found: Sequence[Service] = [*request.app[SERVICES]]
    if admitted is None:
        return found
    return [
        service
        for service in found
        if any(
            admitted.allows(scope, service.name, service.incarnation) for scope in admitted.scopes
        )
    ]


def _by(parameters: Parameters) -> list[By]:
    text = parameters.text("by", "service,token")
    names = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := [name for name in names if name not in list(By)]:
        raise BadParameter("by", f"some of {', '.join(By)}", repr(unknown[0][:64]))
    return list(dict.fromkeys(map(By, names)))


def _period(parameters: Parameters) -> tuple[int, int]:
    """Return the first and the last moment, which is not included; by default the last day."""
    to_ms, from_ms = _moment(parameters, "to"), _moment(parameters, "from")
    to_ms = now_ms() if to_ms is None else to_ms
    from_ms = max(0, to_ms - _DAY_MS) if from_ms is None else from_ms
    if from_ms >= to_ms:
        raise BadParameter("from", f"a time before {moment(to_ms)}", moment(from_ms))
    return from_ms, to_ms


def _moment(parameters: Parameters, name: str) -> int | None:
    if not (text := parameters.text(name)):
        return None
    try:
        # A `+` in a query is a space.
        parsed = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
        at_ms = int((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError):
        at_ms = -1
    if not 0 <= at_ms <= _LATEST_MS:
        expected = "a time such as 2026-11-29 or 2026-11-29T08:00:00Z"
        raise BadParameter(name, expected, repr(text[:64]))
    return at_ms


def _as_csv(by: Sequence[By], report: Report) -> web.Response:
    text = io.StringIO()
    writer = csv.DictWriter(text, [*by, *FIGURES, "cost"])
    writer.writeheader()
    for row in report.rows():
        # A name that begins like a formula would be run by a spreadsheet.
        writer.writerow({name: _harmless(value) for name, value in row.items()})
    return web.Response(text=text.getvalue(), content_type="text/csv")


def _harmless(value: object) -> object:
    return (
        f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@")) else value
    )
