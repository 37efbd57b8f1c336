"""Where handlers find what the app was built of."""

from collections.abc import Iterator

from aiohttp import web

from queue_service.metrics import Metrics
from queue_service.services import Services
from queue_service.settings import Settings

SETTINGS = web.AppKey("settings", Settings)
SERVICES = web.AppKey("services", Services)
#: Gives the next request id; used by one event loop only.
REQUEST_IDS: web.AppKey[Iterator[str]] = web.AppKey("request_ids")
METRICS = web.AppKey("metrics", Metrics)
