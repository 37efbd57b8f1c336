"""How long a request waits for the end of a job: `?wait=5s`, or `Prefer: wait=5`."""

import re

from aiohttp import web

from queue_service.web.keys import SETTINGS
from queue_service.web.parameters import Parameters

#: The query parameter; it is not an option of the job.
WAIT = "wait"
_PREFERENCE = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,6})\"?\s*(?:$|[,;])", re.IGNORECASE)


def wanted_wait(request: web.Request) -> float:
    """Return the seconds, at most the service's longest wait; 0 for no wait.

    The query overrides the header.  Raises BadParameter for a `wait` that is not a duration.
    """
    most_s = request.app[SETTINGS].max_timeout_s
    if WAIT in request.query:
        return Parameters(request).duration_s(WAIT, most_s=most_s)
    for preference in request.headers.getall("Prefer", []):
        if found := _PREFERENCE.search(preference):
            return min(most_s, float(found[1]))
    return 0.0
