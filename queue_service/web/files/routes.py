"""The table of the files API."""

import re

from queue_service.service.access import Scope
from queue_service.web.error_formats import ErrorFormat
from queue_service.web.files import content, listing, resumable, upload
from queue_service.web.openai.refusals import render
from queue_service.web.routing import Api, OnFiles, Route

_ADD = OnFiles(Scope.SUBMIT, refuse_when_draining=True)
_SEE = OnFiles(Scope.SUBMIT, Scope.READ)
_FILE = "/v1/files/{file}"
_UPLOAD = "/v1/files/uploads/{file}"

API = Api(
    (
        Route("POST", "/v1/files", _ADD, upload.post_file, lasts=True),
        Route("GET", "/v1/files", _SEE, listing.list_files),
        Route("POST", "/v1/files/uploads", _ADD, resumable.post_upload),
        Route("GET", _UPLOAD, OnFiles(Scope.SUBMIT), resumable.get_upload),
        Route("PATCH", _UPLOAD, _ADD, resumable.patch_upload, lasts=True),
        Route("POST", f"{_UPLOAD}/complete", _ADD, resumable.complete_upload),
        Route("DELETE", _UPLOAD, OnFiles(Scope.SUBMIT), resumable.delete_upload),
        Route("GET", _FILE, _SEE, listing.get_file),
        Route("DELETE", _FILE, OnFiles(Scope.SUBMIT), listing.delete_file),
        Route("GET", f"{_FILE}/content", _SEE, content.get_content),
    ),
    ErrorFormat(re.compile("/v1/files(?:/|$)"), render),
)
