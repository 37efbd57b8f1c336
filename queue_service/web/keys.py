"""Where handlers find what the application was built from."""

from aiohttp import web

from queue_service.process.metrics import Metrics
from queue_service.process.tally import Tally
from queue_service.service.admission import Admission
from queue_service.service.batches.batches import Batches
from queue_service.service.files import Files
from queue_service.service.resumable import Resumables
from queue_service.service.services import Services
from queue_service.settings.process import Settings
from queue_service.store.audit import AuditLog
from queue_service.store.usage import UsageStore
from queue_service.web.address import Addresses
from queue_service.web.budget import Budget, Held
from queue_service.web.error_formats import ErrorFormats
from queue_service.web.ids import RequestIds
from queue_service.web.visitors import Visitors

SETTINGS = web.AppKey("settings", Settings)
SERVICES = web.AppKey("services", Services)
FILES = web.AppKey("files", Files)
UPLOADS = web.AppKey("uploads", Resumables)
BATCHES = web.AppKey("batches", Batches)
USAGE = web.AppKey("usage", UsageStore)
AUDIT = web.AppKey("audit", AuditLog)
#: What a change has made, for its entry of the audit log.
AUDIT_ABOUT = web.RequestKey("audit_about", str)
REQUEST_IDS = web.AppKey("request_ids", RequestIds)
METRICS = web.AppKey("metrics", Metrics)
#: What admitted a request: `web.tokens` sets it, the middleware ends it.
ADMISSION = web.RequestKey("admission", Admission)
BUDGET = web.AppKey("budget", Budget)
#: The bytes of the budget that a request holds: `web.body` sets it, the middleware ends it.
HELD = web.RequestKey("held", Held)
#: The id of the job that a request of the OpenAI API has become.
REQUEST_ID = web.RequestKey("request_id", str)
STRANGERS = web.AppKey("strangers", Tally)
ADDRESSES = web.AppKey("addresses", Addresses)
VISITORS = web.AppKey("visitors", Visitors)
ERROR_FORMATS = web.AppKey("error_formats", ErrorFormats)
