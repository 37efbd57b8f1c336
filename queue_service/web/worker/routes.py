"""The table of the worker protocol."""

from client_sdk.wire import names
from queue_service.service.access import Scope
from queue_service.web.routing import Api, OnService, Route
from queue_service.web.worker import session

API = Api((Route("GET", names.WORK_PATH, OnService(Scope.WORK), session.serve_work, lasts=True),))
