"""Errors of webhooks that a client sees."""

from client_sdk.wire.codes import Code
from queue_service.errors import ServiceError


class NoSuchWebhook(ServiceError):
    """The service has no endpoint with this name."""

    code = Code.NOT_FOUND

    def __init__(self, service: str, name: str) -> None:
        super().__init__(
            f"the service {service!r} has no webhook {name[:64]!r}; set one up with "
            f"PUT /v1/services/{service}/webhooks/{{name}}"
        )


class NoSuchDelivery(ServiceError):
    """The endpoint has no delivery with this id."""

    code = Code.NOT_FOUND

    def __init__(self, delivery_id: str) -> None:
        super().__init__(
            f"there is no delivery {delivery_id[:64]!r} of this webhook: only the latest are kept"
        )


class WebhookDisabled(ServiceError):
    """Nothing is sent to the endpoint."""

    code = Code.CONFLICT

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(
            f"the webhook {name!r} is disabled ({reason}); set it up again first, with "
            '"enabled": true'
        )


class TooManyWebhooks(ServiceError):
    """The service has as many endpoints as it may."""

    code = Code.CONFLICT

    def __init__(self, most: int) -> None:
        super().__init__(f"expected at most {most} webhooks of one service, got another one")
