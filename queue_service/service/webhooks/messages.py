"""What webhooks send: the body, its id, and its signatures.  Pure.

The body is an event of Standard Webhooks and, with `object`, `id` and `created_at`, one of
OpenAI's.  It has no data of the result: that is read with a token of the service.
"""

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from standardwebhooks import Webhook

from client_sdk.wire.names import JOBS_PATH as PATH
from queue_service.store.owners import owner_of, plain_name
from queue_service.store.webhook_deliveries import BEHIND, Delivery, End

#: The name of the endpoint for webhooks of single jobs.
OF_REQUESTS = "jobs"
#: The final states that a webhook can report, by the name of the event.
EVENTS = {f"job.{state}": state for state in ("succeeded", "failed", "canceled", "expired")}
CONTENT_TYPE = "application/json"
#: What a test of an endpoint sends.
PING = "webhook.ping"


def event_id(service: str, incarnation: int, end: End) -> str:
    """Return the webhook id of an end: the same each time the end is read."""
    parts = (service, str(incarnation), end.request_id, end.state, end.mark)
    return "evt_" + hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:40]


def delivery_of(event: str, end: End, *, endpoint: str, host: str = "", url: str = "") -> Delivery:
    """Return the delivery of an end to an endpoint or, with a host and URL, of a job's own."""
    digest = hashlib.sha256(f"{event}\x1f{endpoint}".encode()).hexdigest()[:32]
    return Delivery(
        id=f"dlv_{digest}",
        event=event,
        endpoint=endpoint,
        bucket=f"{endpoint}{BEHIND}{host}" if host else endpoint,
        url=url,
        request_id=end.request_id,
        outcome=end.state,
        code=end.code,
        type=end.type,
        put_at_ms=end.put_at_ms,
        ended_at_ms=end.ended_at_ms,
    )


def type_of(delivery: Delivery) -> str:
    """Return the name of the event."""
    return f"job.{delivery.outcome}"


def body_of(service: str, delivery: Delivery, *, prefix: str = "") -> str:
    """Return the body of a delivery; each attempt sends the same.

    prefix: what precedes the paths of the queue service.
    """
    request_id, owner = plain_name(delivery.request_id), owner_of(delivery.request_id)
    path = f"{prefix}{PATH.format(service=service)}/{quote(request_id, safe='')}"
    data: dict[str, Any] = {
        "id": request_id,
        "service": service,
        "state": delivery.outcome,
        "ended_at": moment(delivery.ended_at_ms),
        "job_path": path,
    }
    if delivery.put_at_ms:
        data["created_at"] = moment(delivery.put_at_ms)
    if owner:
        data["owner"] = owner
    if delivery.code:
        data["error"] = {"code": delivery.code, "type": delivery.type or None}
    if delivery.outcome == "succeeded":
        data["result_path"] = f"{path}/result"
    return json.dumps(
        {
            "id": delivery.event,
            "object": "event",
            "type": type_of(delivery),
            "created_at": delivery.ended_at_ms // 1000,
            "timestamp": moment(delivery.ended_at_ms),
            "data": data,
        },
        separators=(",", ":"),
    )


def moment(ms: int) -> str:
    """Return a time as in the jobs API."""
    text = datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def signed_headers(
    event: str, body: str, secrets: Sequence[str], *, now: datetime
) -> dict[str, str]:
    """Return the headers of one attempt; with several secrets there is a signature by each."""
    signatures = [Webhook(secret).sign(event, now, body) for secret in secrets]
    return {
        "Content-Type": CONTENT_TYPE,
        "User-Agent": "Penstock-Webhooks/1",
        "webhook-id": event,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }
