"""The table of the admin API, with what machines ask of a process: health and metrics."""

from client_sdk.wire import names
from queue_service.service.access import Scope
from queue_service.web.admin import (
    audit,
    dead_letters,
    health,
    scale,
    scalers,
    services,
    tokens,
    usage,
    webhooks,
    workers,
)
from queue_service.web.routing import (
    OPERATOR,
    PUBLIC,
    Api,
    OnService,
    OnServiceOrOperator,
    OnUsage,
    Route,
)

_SERVICE = "/v1/services/{service}"
_SCALE = f"{_SERVICE}/scale"
_HOOKS = f"{_SERVICE}/webhooks"
_HOOK = f"{_HOOKS}/{{name}}"
_DELIVERIES = f"{_HOOK}/deliveries"
#: The service's own token and the admin token.
_OWNERS = OnServiceOrOperator(Scope.ADMIN)
#: The clients of a service: each sees what it has used.
_USERS = (Scope.SUBMIT, Scope.READ, Scope.ADMIN)
_LETTERS = f"{_SERVICE}/dead-letters"
_LETTER = f"{_LETTERS}/{{id}}"


def _of_scaler(name: str, scaler: scalers.Scaler) -> tuple[Route, ...]:
    path = f"{_SERVICE}/{name}"
    return (
        Route("GET", path, OnServiceOrOperator(Scope.READ, Scope.ADMIN), scaler.show),
        Route("PUT", path, OPERATOR, scaler.put, lasts=True),
        Route("DELETE", path, OPERATOR, scaler.delete),
    )


API = Api(
    (
        Route("GET", "/healthz", PUBLIC, health.healthz),
        Route("GET", "/readyz", PUBLIC, health.readyz),
        Route("GET", "/metrics", OPERATOR, health.metrics),
        Route("GET", "/v1/services", OPERATOR, services.list_services),
        Route("GET", _SERVICE, OPERATOR, services.show_service),
        Route("PUT", _SERVICE, OPERATOR, services.put_service, lasts=True),
        Route("DELETE", _SERVICE, OPERATOR, services.delete_service),
        Route("POST", f"{_SERVICE}/stop", OPERATOR, services.stop_service),
        Route("POST", f"{_SERVICE}/start", OPERATOR, services.start_service),
        Route("POST", f"{_SERVICE}/pause", OPERATOR, services.pause_service),
        Route("POST", f"{_SERVICE}/resume", OPERATOR, services.resume_service),
        *_of_scaler("autoscaler", scalers.AUTOSCALER),
        *_of_scaler("cronscaler", scalers.CRONSCALER),
        Route("GET", _SCALE, OnServiceOrOperator(Scope.READ, Scope.ADMIN), scale.show_scale),
        # Autoscalers call these every few seconds.
        Route("PUT", _SCALE, OPERATOR, scale.put_scale, lasts=True, is_change=False),
        Route("DELETE", _SCALE, OPERATOR, scale.give_back_scale, is_change=False),
        Route("GET", _HOOKS, _OWNERS, webhooks.list_webhooks),
        Route("GET", _HOOK, _OWNERS, webhooks.show_webhook),
        Route("PUT", _HOOK, _OWNERS, webhooks.put_webhook, lasts=True),
        Route("DELETE", _HOOK, _OWNERS, webhooks.delete_webhook),
        Route("POST", f"{_HOOK}/rotate", _OWNERS, webhooks.rotate_secret),
        Route("POST", f"{_HOOK}/redeliver", _OWNERS, webhooks.redeliver_failed),
        Route("GET", _DELIVERIES, _OWNERS, webhooks.list_deliveries),
        Route("POST", f"{_DELIVERIES}/{{id}}/redeliver", _OWNERS, webhooks.redeliver),
        Route("GET", "/v1/audit", OPERATOR, audit.list_audit),
        Route("GET", "/v1/usage", OnUsage(*_USERS), usage.get_usage),
        Route("GET", "/v1/tokens", OPERATOR, tokens.list_tokens),
        Route("POST", "/v1/tokens", OPERATOR, tokens.make_token, lasts=True),
        Route("DELETE", "/v1/tokens/{token}", OPERATOR, tokens.revoke_token),
        Route("GET", _LETTERS, OPERATOR, dead_letters.list_letters),
        Route("DELETE", _LETTERS, OPERATOR, dead_letters.purge),
        Route("POST", f"{_LETTERS}/replay", OPERATOR, dead_letters.replay),
        Route("GET", _LETTER, OPERATOR, dead_letters.show),
        Route("PATCH", _LETTER, OPERATOR, dead_letters.edit, lasts=True),
        Route("DELETE", _LETTER, OPERATOR, dead_letters.purge_one),
        Route("POST", f"{_LETTER}/replay", OPERATOR, dead_letters.replay_one),
        Route("POST", f"{names.WORKERS_PATH}/leave", OPERATOR, workers.ask_to_leave, lasts=True),
        Route("GET", names.WORKERS_PATH, OnService(Scope.WORK), workers.list_workers),
    )
)
