"""The admin API for services: list, make, change, stop, start, pause, resume and
delete them."""

from dataclasses import asdict
from typing import Any

from aiohttp import web
from pydantic import SecretStr, ValidationError

from client_sdk.wire.tokens import new_token
from queue_service.errors import BadParameter
from queue_service.service.access import now_ms
from queue_service.service.service import Service
from queue_service.service.sink_wording import why_full
from queue_service.settings.service import ServiceSettings
from queue_service.settings.wrong_fields import wrong_fields
from queue_service.store.registry import ServiceState
from queue_service.web.admin.fields import read_fields
from queue_service.web.admin.scale import render_decision
from queue_service.web.keys import SERVICES
from queue_service.web.parameters import Parameters
from queue_service.web.strict_json import json_response
from queue_service.web.tokens import seek_admitted

#: The largest description of a service.
MAX_DESCRIPTION_BYTES = 256 * 1024
#: The longest part of a bad value that an error shows, in characters.
_SHOWN = 100


async def list_services(request: web.Request) -> web.Response:
    """List all services with their queues and subscribers, and the replicas."""
    services = request.app[SERVICES]
    described = [await _describe(service) for service in services]
    return json_response({"services": described, "replicas": await _replicas(request)})


async def show_service(request: web.Request) -> web.Response:
    """Describe one service with its queues and subscribers, and the replicas."""
    service = await seek_admitted(request, request.match_info["service"])
    return await _answer(request, service)


async def put_service(request: web.Request) -> web.Response:
    """Make a service, or change its settings; its entries and subscribers stay.

    A new service without a token in its settings gets one, and one for its workers; only this
    response shows them.  `?adopt=true` continues a service that the environment had.
    """
    services = request.app[SERVICES]
    name = request.match_info["service"]
    fields = await read_fields(request, limit_bytes=MAX_DESCRIPTION_BYTES, what="settings")
    expected = _expected_revision(request)
    adopt = Parameters(request).flag("adopt")
    # Only writing it shows whether it is new: another process may have made it.
    made = {
        name: new_token()
        for name in ("token", "worker_token")
        if not {name, f"{name}_sha256"} & fields.keys()
    }
    if_new = {name: SecretStr(text) for name, text in made.items()}
    service, is_new = await services.put(
        _settings(name, fields), if_new=if_new, expected=expected, adopt=adopt
    )
    shown: dict[str, object] = {**made} if is_new else {}
    return await _answer(request, service, status=201 if is_new else 200, **shown)


async def stop_service(request: web.Request) -> web.Response:
    """Stop a service: it refuses every request, and keeps its entries."""
    return await _set_state(request, ServiceState.STOPPED)


async def start_service(request: web.Request) -> web.Response:
    """Start a stopped service."""
    return await _set_state(request, ServiceState.RUNNING)


async def pause_service(request: web.Request) -> web.Response:
    """Pause a service: it accepts jobs and delivers none; those that run go on."""
    return await _set_paused(request, paused=True)


async def resume_service(request: web.Request) -> web.Response:
    """Deliver the jobs of a paused service again."""
    return await _set_paused(request, paused=False)


async def delete_service(request: web.Request) -> web.Response:
    """Delete a service and its queues; answer with what was deleted."""
    name = request.match_info["service"]
    await seek_admitted(request, name)
    deleted = await request.app[SERVICES].delete(name, expected=_expected_revision(request))
    return json_response(
        {
            "name": name,
            "deleted_entries": {role: had.entries for role, had in deleted.items()},
            "deleted_dead_letters": {role: had.dead_letters for role, had in deleted.items()},
        }
    )


async def _set_state(request: web.Request, state: ServiceState) -> web.Response:
    service = await request.app[SERVICES].set_state(request.match_info["service"], state)
    return await _answer(request, service)


async def _set_paused(request: web.Request, *, paused: bool) -> web.Response:
    service = await seek_admitted(request, request.match_info["service"])
    await service.input.pause(paused=paused)
    return await _answer(request, service)


async def _answer(
    request: web.Request, service: Service, *, status: int = 200, **more: object
) -> web.Response:
    described = await _describe(service) | more
    described["replicas"] = [] if service.stopped else await _replicas(request)
    headers = {"ETag": f'"{service.description.revision}"'}
    return json_response(described, status=status, headers=headers)


async def _replicas(request: web.Request) -> list[dict[str, object]]:
    """Describe the replicas; each serves every service that is not stopped."""
    return [asdict(replica) for replica in await request.app[SERVICES].replicas()]


async def _describe(service: Service) -> dict[str, Any]:
    description = service.description
    described: dict[str, Any] = {
        "name": service.name,
        "origin": description.origin,
        "state": description.state,
        "revision": description.revision,
        "settings": description.settings.model_dump(
            mode="json",
            exclude={"name", "token", "token_sha256", "worker_token", "worker_token_sha256"},
        ),
        "window": _window(service),
        "max_delivery": service.max_delivery,
        "lease_ms": service.input.lease_ms,
    }
    described["scale"] = render_decision((await service.scaling.figures()).decision)
    for queue in service.queues:
        state = asdict(await queue.attributes())
        described[queue.role] = {
            "capacity": queue.limits.capacity,
            "max_payload_bytes": queue.limits.payload_bytes,
            # Of the capacity: a large entry takes several.
            "places": state["length"] + state.pop("more_places"),
            "max_bytes": queue.limits.capacity
            * (queue.limits.place_bytes or queue.limits.stored_bytes),
            **state,
        }
    described["file_bytes"] = await service.files.used_bytes()
    await _describe_sink(service, described["sink"])
    # Of the service, although the input queue keeps it.
    described["paused_at_ms"] = described["input"].pop("paused_at_ms")
    described["sink"].pop("paused_at_ms")
    return described


async def _describe_sink(service: Service, sink: dict[str, Any]) -> None:
    """Say whether unread results stop the jobs of the service, and why."""
    state = await service.tickets.sink.state_if_full("") if sink["full"] else None
    sink["full_because"] = None if state is None else why_full(state)
    sink["next_expires_ms"] = None if state is None else state.next_ms
    sink["full_since_ms"] = None if state is None else state.since_ms or None


def _window(service: Service) -> dict[str, object] | None:
    """Say whether its time windows let jobs out now; None when it has none."""
    if not service.windows.windows:
        return None
    return {
        "open": service.is_in_window,
        "changes_at_ms": service.windows.next_change_ms(now_ms()),
    }


def _settings(name: str, fields: dict[str, Any]) -> ServiceSettings:
    if fields.get("name", name) != name:
        raise BadParameter("name", f"{name}, as in the path", _shown(fields["name"]))
    try:
        return ServiceSettings.model_validate({**fields, "name": name})
    except ValidationError as error:
        first = next(wrong_fields(error, ServiceSettings, whole="the settings"))
        secret = "token" in first.name or first.name == "the settings"
        came = "another" if secret else first.came
        raise BadParameter(first.name, first.expected, came) from None


def _shown(value: object) -> str:
    return repr(value)[:_SHOWN]


def _expected_revision(request: web.Request) -> int | None:
    """Return the revision in `If-Match`; 0 for `If-None-Match: *`, which asks for a new service."""
    if request.headers.get("If-None-Match", "").strip() == "*":
        return 0
    wanted = request.headers.get("If-Match", "").strip()
    if wanted in ("", "*"):
        return None
    digits = wanted.removeprefix("W/").strip('"')
    if not digits.isascii() or not digits.isdigit() or len(digits) > 18:
        raise BadParameter("If-Match", "a revision", _shown(wanted))
    return int(digits)
