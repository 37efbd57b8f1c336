"""The table of the jobs API."""

from client_sdk.wire.names import JOBS_PATH
from queue_service.service.access import Scope
from queue_service.web.jobs import artifacts, events, listing, logs, result, submit, verbs
from queue_service.web.jobs.problem import ERRORS
from queue_service.web.routing import Api, OnService, OnServiceOrOperator, Route

# Without a pattern the library's `{job}` takes no braces, and an id may have some.
_JOB = f"{JOBS_PATH}/{{job:[^/]+}}"
_ARTIFACT = f"{_JOB}/artifacts/{{artifact:[^/]+}}"
#: The admin token may look at the jobs of every service, and cancel them.
_READERS = OnServiceOrOperator(Scope.READ)

API = Api(
    (
        Route("POST", JOBS_PATH, OnService(Scope.SUBMIT), submit.post_job, lasts=True),
        Route("GET", JOBS_PATH, _READERS, listing.list_jobs),
        Route("PUT", _JOB, OnService(Scope.SUBMIT), submit.put_job, lasts=True),
        Route("GET", _JOB, OnServiceOrOperator(Scope.SUBMIT, Scope.READ), verbs.get_job),
        # A waiting job needs `cancel` and a result `read`: the handler knows which it is.
        Route("DELETE", _JOB, OnService(Scope.CANCEL, Scope.READ), verbs.delete_job),
        Route("GET", f"{_JOB}/result", _READERS, result.get_result, lasts=True),
        Route("GET", f"{_JOB}/events", _READERS, events.get_events, lasts=True),
        Route("GET", f"{_JOB}/logs", _READERS, logs.get_logs, lasts=True),
        Route("GET", f"{_JOB}/artifacts", _READERS, artifacts.list_artifacts),
        Route("GET", _ARTIFACT, _READERS, artifacts.get_artifact),
        Route(
            "POST",
            f"{_JOB}/cancel",
            OnServiceOrOperator(Scope.CANCEL),
            verbs.cancel_job,
            lasts=True,
        ),
    ),
    ERRORS,
)
