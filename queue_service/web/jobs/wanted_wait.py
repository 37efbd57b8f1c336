"""For how long a request wants to wait for the end of a job: `?wait=5s`, or `Prefer: wait=5`."""

import re

from aiohttp import web

from queue_service.web.keys import SETTINGS
from queue_service.web.parameters import Parameters

#: The parameter of the query, which is no option of a job.
WAIT = "wait"
_PREFERENCE = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,6})\"?\s*(?:$|[,;])", re.IGNORECASE)


def wanted_wait(request: web.Request) -> float:
    """Return the seconds, at most the service's longest wait; 0 for not at all.

    The query goes before the header.  Raises BadParameter for a `wait` that is no duration.
    """
    most_s = request.app[SETTINGS].max_timeout_s
    if WAIT in request.query:
        return Parameters(request).duration_s(WAIT, most_s=most_s)
    for preference in request.headers.getall("Prefer", []):
        if found := _PREFERENCE.search(preference):
            return min(most_s, float(found[1]))
    return 0.0
