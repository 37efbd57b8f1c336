"""Where handlers find what the app was built of."""

from aiohttp import web

from queue_service.metrics import Metrics
from queue_service.services import Services
from queue_service.settings import Settings

SETTINGS = web.AppKey("settings", Settings)
SERVICES = web.AppKey("services", Services)
METRICS = web.AppKey("metrics", Metrics)
