"""The table of the Batch API."""

import re

from queue_service.service.access import Scope
from queue_service.web.batches import create, look
from queue_service.web.error_formats import ErrorFormat
from queue_service.web.openai.refusals import render
from queue_service.web.routing import Api, OnBatches, OnFiles, Route

_SEE = OnFiles(Scope.SUBMIT, Scope.READ)
_BATCH = "/v1/batches/{batch}"

API = Api(
    (
        Route("POST", "/v1/batches", OnBatches(), create.post_batch, lasts=True),
        Route("GET", "/v1/batches", _SEE, look.list_batches),
        Route("GET", _BATCH, _SEE, look.get_batch),
        Route("POST", f"{_BATCH}/cancel", OnFiles(Scope.SUBMIT, Scope.CANCEL), look.cancel_batch),
        Route("GET", f"{_BATCH}/output", _SEE, look.get_output),
        Route("GET", f"{_BATCH}/errors", _SEE, look.get_errors),
    ),
    ErrorFormat(re.compile("/v1/batches(?:/|$)"), render),
)
