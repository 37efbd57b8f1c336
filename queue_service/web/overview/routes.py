"""The table of the overview."""

from queue_service.service.access import Scope
from queue_service.web.overview import look, stream
from queue_service.web.routing import Api, OnServiceOrOperator, OnSomeServiceOrOperator, Route

_SERVICE = "/v1/services/{service}"
_READERS = OnServiceOrOperator(Scope.READ, Scope.ADMIN)
_SOMEWHERE = OnSomeServiceOrOperator(Scope.READ, Scope.ADMIN)

API = Api(
    (
        Route("GET", "/v1/overview", _SOMEWHERE, look.show_all),
        Route("GET", "/v1/overview/events", _SOMEWHERE, stream.follow_all, lasts=True),
        Route("GET", f"{_SERVICE}/overview", _READERS, look.show_one),
        Route("GET", f"{_SERVICE}/activity", _READERS, look.show_activity),
    )
)
