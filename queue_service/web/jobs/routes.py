"""The table of the jobs API."""

from client_sdk.wire.names import JOBS_PATH
from queue_service.service.access import Scope
from queue_service.web.jobs import artifacts, events, logs, result, submit, verbs
from queue_service.web.jobs.problem import ERRORS
from queue_service.web.routing import Api, OnService, Route

# Without a pattern the library's `{job}` takes no braces, and an id may have some.
_JOB = f"{JOBS_PATH}/{{job:[^/]+}}"
_ARTIFACT = f"{_JOB}/artifacts/{{artifact:[^/]+}}"

API = Api(
    (
        Route("POST", JOBS_PATH, OnService(Scope.SUBMIT), submit.post_job, lasts=True),
        Route("GET", JOBS_PATH, OnService(Scope.READ), verbs.list_jobs),
        Route("PUT", _JOB, OnService(Scope.SUBMIT), submit.put_job, lasts=True),
        Route("GET", _JOB, OnService(Scope.SUBMIT, Scope.READ), verbs.get_job),
        # A waiting job needs `cancel` and a result `read`: the handler knows which it is.
        Route("DELETE", _JOB, OnService(Scope.CANCEL, Scope.READ), verbs.delete_job),
        Route("GET", f"{_JOB}/result", OnService(Scope.READ), result.get_result, lasts=True),
        Route("GET", f"{_JOB}/events", OnService(Scope.READ), events.get_events, lasts=True),
        Route("GET", f"{_JOB}/logs", OnService(Scope.READ), logs.get_logs, lasts=True),
        Route("GET", f"{_JOB}/artifacts", OnService(Scope.READ), artifacts.list_artifacts),
        Route("GET", _ARTIFACT, OnService(Scope.READ), artifacts.get_artifact),
        Route("POST", f"{_JOB}/cancel", OnService(Scope.CANCEL), verbs.cancel_job, lasts=True),
    ),
    ERRORS,
)
