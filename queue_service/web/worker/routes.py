"""The table of the worker protocol."""

from client_sdk.wire import names
from queue_service.service.access import Scope
from queue_service.web.routing import Api, OnService, Route
from queue_service.web.worker import contents, session

_WORKS = OnService(Scope.WORK)
_CONTENT = f"{names.WORK_FILES_PATH}/{{file}}/content"

API = Api(
    (
        Route("GET", names.WORK_PATH, _WORKS, session.serve_work, lasts=True),
        Route("POST", names.WORK_FILES_PATH, _WORKS, contents.post_content, lasts=True),
        Route("POST", f"{names.WORK_FILES_PATH}/uploads", _WORKS, contents.post_upload),
        Route(
            "POST", f"{names.WORK_FILES_PATH}/{{file}}/complete", _WORKS, contents.complete_upload
        ),
        Route("GET", _CONTENT, _WORKS, contents.get_content),
    )
)
