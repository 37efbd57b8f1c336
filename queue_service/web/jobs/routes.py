"""The routes of the jobs face."""

from aiohttp import web

from client_sdk.wire.names import JOBS_PATH
from queue_service.web.jobs import events, openapi, result, submit, verbs


def routes() -> list[web.RouteDef]:
    """The routes of this face."""
    # Every id that can stand in a path; without a pattern the library leaves out braces.
    job = JOBS_PATH + "/{job:[^/]+}"
    return [
        web.get("/openapi.json", openapi.show_document),
        web.post(JOBS_PATH, submit.post_job),
        web.get(JOBS_PATH, verbs.list_jobs),
        web.put(job, submit.put_job),
        web.get(job, verbs.get_job),
        web.delete(job, verbs.delete_job),
        web.get(job + "/result", result.get_result),
        web.get(job + "/events", events.get_events),
        web.post(job + "/cancel", verbs.cancel_job),
    ]
