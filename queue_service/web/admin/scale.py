"""The admin API for autoscaling: the figures, and the lease and report of an autoscaler.

`/v1/services/{service}/scale`
"""

import json
from dataclasses import asdict
from typing import Annotated, Any

from aiohttp import web
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from client_sdk.wire import names
from client_sdk.wire.codes import Code
from queue_service.errors import BadParameter
from queue_service.service.scaling import Decision, ScaleFigures
from queue_service.service.service import Service
from queue_service.store.scaling import HeldLease, NewReport
from queue_service.web.admin.fields import read_fields, to_model
from queue_service.web.parameters import Parameters
from queue_service.web.routing import Caller
from queue_service.web.strict_json import json_response
from queue_service.web.tokens import check_admission, seek_admitted

#: The largest history, and the largest report with its other fields.
MAX_HISTORY_BYTES = 64 * 1024
MAX_REPORT_BYTES = MAX_HISTORY_BYTES + 16 * 1024
#: The longest sentence that is kept, in characters: a driver may quote a whole page of errors.
MAX_SENTENCE = 1000
#: The most workers that a report can name.
MOST_WORKERS = 1_000_000


def _shortened(sentence: object) -> object:
    return sentence[:MAX_SENTENCE] if isinstance(sentence, str) else sentence


_Sentence = Annotated[str, BeforeValidator(_shortened)]
_Count = Annotated[int, Field(ge=0, le=MOST_WORKERS)]


class ScaleReport(BaseModel):
    """The body of a PUT.  Without `wanted` it only takes or renews the lease."""

    model_config = ConfigDict(extra="forbid", strict=True)

    holder: Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[^\x00-\x1f\x7f]*$")]
    lease_ms: Annotated[int, Field(ge=100, le=3_600_000)]
    existing: _Count | None = None
    wanted: _Count | None = None
    reason: _Sentence | None = None
    driver_error: _Sentence | None = None
    history: dict[str, Any] | None = None

    def to_new(self) -> NewReport:
        """Return what the store keeps of it."""
        history = None if self.history is None else json.dumps(self.history)
        if history is not None and len(history) > MAX_HISTORY_BYTES:
            came = f"{len(history)} bytes"
            raise BadParameter("history", f"at most {MAX_HISTORY_BYTES} bytes of JSON", came)
        error = self.driver_error
        if error is None and self.wanted is not None:
            # A decision without an error ends the last one.
            error = ""
        return NewReport(self.existing, self.wanted, self.reason, error, history=history)


async def show_scale(_: web.Request, caller: Caller) -> web.Response:
    """Show the figures, and what the running autoscaler wants."""
    return json_response(_render(caller.service, await caller.service.scaling.figures()))


async def put_scale(request: web.Request) -> web.Response:
    """Take or renew the lease of an autoscaler, and store what it reports."""
    service = await seek_admitted(request, request.match_info["service"])
    fields = await read_fields(request, limit_bytes=MAX_REPORT_BYTES, what="a report")
    report = to_model(fields, ScaleReport)
    new = report.to_new()
    check_admission(request)
    figures = await service.scaling.report(report.holder, new, lease_ms=report.lease_ms)
    if isinstance(figures, HeldLease):
        return refuse_lease(service, figures)
    return json_response({**_render(service, figures), "history": figures.history})


async def give_back_scale(request: web.Request) -> web.Response:
    """End the lease of an autoscaler, so that the next one need not wait."""
    service = await seek_admitted(request, request.match_info["service"])
    holder = Parameters(request).text("holder")
    if not holder:
        raise BadParameter("holder", "the name under which the lease was taken", "nothing")
    held = await service.scaling.give_back(holder)
    return web.Response(status=204) if held is None else refuse_lease(service, held)


def refuse_lease(service: Service, held: HeldLease) -> web.Response:
    """Say that another autoscaler decides."""
    sentence = (
        f"the service {service.name!r} has an autoscaler already: {held.holder} has the lease for "
        f"{held.left_ms} ms more; stop that one, or try again then"
    )
    return json_response(
        {
            "code": Code.LEASE_HELD,
            "message": sentence,
            "holder": held.holder,
            "retry_after_ms": held.left_ms,
        },
        status=409,
        headers={names.ERROR_CODE_HEADER: Code.LEASE_HELD},
    )


def _render(service: Service, figures: ScaleFigures) -> dict[str, object]:
    workers, settings = figures.workers, service.description.settings
    return {
        "service": service.name,
        "waiting": figures.waiting,
        "running": figures.running,
        "paused": figures.paused,
        "deliverable": figures.deliverable,
        "sink_full": figures.sink_full,
        "workers": {"total": workers.total, **asdict(workers)},
        "window": figures.window,
        "window_per_worker": figures.window_per_worker,
        "backlog_per_worker": round(figures.backlog_per_worker, 3),
        "oldest_s": figures.oldest_s,
        "wait_s": _rounded(figures.wait_s),
        "run_s": _rounded(figures.run_s),
        "load_s": _rounded(figures.load_s),
        "cpu": _rounded(figures.cpu),
        "put_total": figures.put_total,
        "due": [{"count": due.count, "within_s": _rounded(due.within_s)} for due in figures.due],
        **render_decision(figures.decision),
        "autoscaler": _json_of(settings.autoscaler),
        "cronscaler": _json_of(settings.cronscaler),
    }


def render_decision(decision: Decision) -> dict[str, object]:
    """Return what the running autoscaler wants, as this API shows it."""
    return {
        "wanted": decision.wanted,
        "existing": decision.existing,
        "reason": decision.reason,
        "driver_error": decision.driver_error,
        "decided_s_ago": _rounded(decision.decided_s_ago),
    }


def _json_of(scaler: BaseModel | None) -> object:
    return None if scaler is None else scaler.model_dump(mode="json")


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 3)
