"""The admin API for webhooks: set up, rotate secrets, list deliveries, send again.

The service's own token may use it, and the admin token.
"""

import re
from dataclasses import replace
from typing import Any

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from queue_service.errors import BadParameter
from queue_service.service.access import now_ms
from queue_service.service.webhooks.address import Refused, read_url
from queue_service.service.webhooks.desk import WebhookDesk
from queue_service.service.webhooks.endpoints import (
    MOST_ENDPOINTS,
    Endpoint,
    Endpoints,
    new_secret,
)
from queue_service.service.webhooks.errors import (
    NoSuchDelivery,
    NoSuchWebhook,
    TooManyWebhooks,
    WebhookDisabled,
)
from queue_service.service.webhooks.messages import EVENTS, OF_REQUESTS, moment, type_of
from queue_service.store.owners import owner_of, plain_name
from queue_service.store.webhook_deliveries import Delivery, DeliveryState
from queue_service.web.admin.fields import read_model
from queue_service.web.keys import SERVICES
from queue_service.web.parameters import Parameters
from queue_service.web.routing import Caller
from queue_service.web.strict_json import json_response
from queue_service.web.tokens import check_admission

#: The largest description of an endpoint.
MAX_ENDPOINT_BYTES = 16 * 1024
#: The most deliveries of one answer, and where a list of them begins.
MOST_LISTED, BEGIN = 1000, "pending:0"
#: The states in the order in which deliveries are listed.
_STATES = (DeliveryState.PENDING, DeliveryState.FAILED, DeliveryState.DELIVERED)
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_CURSOR = re.compile(r"(pending|failed|delivered):(\d{1,9})")
_DISABLED = "disabled by an operator"


class WantedEndpoint(BaseModel):
    """An endpoint as an operator asks for it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str = ""
    events: tuple[str, ...] = Field(tuple(EVENTS), min_length=1, max_length=len(EVENTS))
    enabled: bool = True


async def list_webhooks(request: web.Request, caller: Caller) -> web.Response:
    """List the endpoints of a service, without their secrets."""
    endpoints = await _desk(request).refresh(caller.service.webhooks)
    return json_response({"webhooks": [one.described(now_ms()) for one in endpoints.all()]})


async def show_webhook(request: web.Request, caller: Caller) -> web.Response:
    """Show one endpoint, without its secret."""
    return json_response((await _endpoint(request, caller)).described(now_ms()))


async def put_webhook(request: web.Request, caller: Caller) -> web.Response:
    """Set up an endpoint, or change it; only the response for a new one shows its secret."""
    name = request.match_info["name"]
    if not _NAME.fullmatch(name):
        raise BadParameter(
            "name", "letters, digits, `_`, `.` and `-`, at most 64 characters", repr(name[:64])
        )
    wanted = await read_model(request, WantedEndpoint, limit_bytes=MAX_ENDPOINT_BYTES)
    _check_events(wanted)
    if name == OF_REQUESTS and wanted.url:
        raise BadParameter("url", f"none: each job brings its own to {OF_REQUESTS!r}", "one")
    if name != OF_REQUESTS:
        await _check_url(request, wanted.url)
    check_admission(request)
    is_new = False

    def decide(known: Endpoints) -> Endpoint:
        nonlocal is_new
        before = known.by_name.get(name)
        is_new = before is None
        if is_new and len(known.by_name) >= MOST_ENDPOINTS:
            raise TooManyWebhooks(MOST_ENDPOINTS)
        changed = {
            "url": wanted.url,
            "events": tuple(dict.fromkeys(wanted.events)),
            "disabled": "" if wanted.enabled else _DISABLED,
        }
        made = before or Endpoint(name, "", (), new_secret(), now_ms())
        return replace(made, **changed)  # type: ignore[arg-type]

    endpoint = await _desk(request).put(caller.service.webhooks, name, decide)
    shown = {"secret": endpoint.secret} if is_new else {}
    described = endpoint.described(now_ms()) | shown
    return json_response(described, status=201 if is_new else 200)


async def delete_webhook(request: web.Request, caller: Caller) -> web.Response:
    """Remove an endpoint, with its waiting messages."""
    name = request.match_info["name"]
    if not await _desk(request).remove(caller.service.webhooks, name):
        raise NoSuchWebhook(caller.service.name, name)
    return web.Response(status=204)


async def rotate_secret(request: web.Request, caller: Caller) -> web.Response:
    """Make a new secret; for a day the old one also signs."""
    name, service = request.match_info["name"], caller.service

    def decide(known: Endpoints) -> Endpoint:
        if (before := known.by_name.get(name)) is None:
            raise NoSuchWebhook(service.name, name)
        return before.rotated(now_ms())

    endpoint = await _desk(request).put(service.webhooks, name, decide)
    return json_response(endpoint.described(now_ms()) | {"secret": endpoint.secret})


async def list_deliveries(request: web.Request, caller: Caller) -> web.Response:
    """List deliveries of an endpoint: those that wait, those that failed, those that arrived."""
    endpoint, parameters = await _endpoint(request, caller), Parameters(request)
    limit = parameters.number("limit", default=100, least=1, most=MOST_LISTED)
    only = parameters.text("state")
    if only and only not in list(DeliveryState):
        raise BadParameter("state", " or ".join(DeliveryState), repr(only[:64]))
    text = parameters.text("after", f"{only}:0" if only else BEGIN)
    if (cursor := _CURSOR.fullmatch(text)) is None:
        raise BadParameter("after", "`next` of an earlier answer", repr(text[:64]))
    state, start = DeliveryState(cursor[1]), int(cursor[2])
    deliveries = caller.service.webhooks.deliveries
    found: list[Delivery] = []
    following: str | None = None
    for one in [state] if only else _STATES[_STATES.index(state) :]:
        go_on: int | None = start if one is state else 0
        while go_on is not None and len(found) < limit:
            most = limit - len(found)
            part = await deliveries.list(one, endpoint.name, start=go_on, most=most)
            found += part.deliveries
            go_on = part.go_on
        if go_on is not None:
            following = f"{one}:{go_on}"
            break
    return json_response({"deliveries": [_described(one) for one in found], "next": following})


async def redeliver(request: web.Request, caller: Caller) -> web.Response:
    """Send a delivery again at once, under the same webhook id."""
    endpoint, delivery_id = await _open_endpoint(request, caller), request.match_info["id"]
    deliveries = caller.service.webhooks.deliveries
    delivery = await deliveries.find(delivery_id)
    if delivery is None or delivery.endpoint != endpoint.name:
        raise NoSuchDelivery(delivery_id)
    if not await deliveries.redeliver(delivery):
        raise NoSuchDelivery(delivery_id)
    again = await deliveries.find(delivery_id) or delivery
    return json_response(_described(again), status=202)


async def redeliver_failed(request: web.Request, caller: Caller) -> web.Response:
    """Send every delivery again that failed for good."""
    endpoint = await _open_endpoint(request, caller)
    deliveries = caller.service.webhooks.deliveries
    failed: list[Delivery] = []
    go_on: int | None = 0
    # All first: what is sent again leaves the list, and may come back to it.
    while go_on is not None:
        part = await deliveries.list(
            DeliveryState.FAILED, endpoint.name, start=go_on, most=MOST_LISTED
        )
        failed += part.deliveries
        go_on = part.go_on
    count = sum([await deliveries.redeliver(one) for one in failed])
    return json_response({"redelivered": count}, status=202)


def _desk(request: web.Request) -> WebhookDesk:
    return request.app[SERVICES].webhooks


async def _endpoint(request: web.Request, caller: Caller) -> Endpoint:
    name = request.match_info["name"]
    endpoints = await _desk(request).refresh(caller.service.webhooks)
    if (found := endpoints.by_name.get(name)) is None:
        raise NoSuchWebhook(caller.service.name, name)
    return found


async def _open_endpoint(request: web.Request, caller: Caller) -> Endpoint:
    endpoint = await _endpoint(request, caller)
    if endpoint.disabled:
        raise WebhookDisabled(endpoint.name, endpoint.disabled)
    return endpoint


def _check_events(wanted: WantedEndpoint) -> None:
    if unknown := [event for event in wanted.events if event not in EVENTS]:
        raise BadParameter("events", f"some of {', '.join(EVENTS)}", repr(unknown[0][:64]))


async def _check_url(request: web.Request, text: str) -> None:
    """Raise BadParameter for a URL that must not receive anything."""
    try:
        await _desk(request).post.check(read_url(text))
    except Refused as error:
        raise BadParameter("url", error.expected, error.came) from None
    except (OSError, TimeoutError, ValueError):
        raise BadParameter("url", "a host name that resolves", repr(text[:64])) from None


def _described(delivery: Delivery) -> dict[str, Any]:
    described: dict[str, Any] = {
        "id": delivery.id,
        "webhook_id": delivery.event,
        "webhook": delivery.endpoint,
        "event": type_of(delivery),
        "job": plain_name(delivery.request_id),
        "owner": owner_of(delivery.request_id),
        "state": delivery.state,
        "attempts": delivery.attempts,
        "ended_at": moment(delivery.ended_at_ms),
    }
    if delivery.url:
        described["url"] = delivery.url
    if delivery.status:
        described["status"] = delivery.status
    if delivery.error:
        described["error"] = delivery.error
    if delivery.last_at_ms:
        described["last_attempt_at"] = moment(delivery.last_at_ms)
    if delivery.state is DeliveryState.PENDING and delivery.next_at_ms:
        described["next_attempt_at"] = moment(delivery.next_at_ms)
    return described
