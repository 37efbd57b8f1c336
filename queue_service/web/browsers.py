"""What web pages may do here (CORS).

The rules themselves are in `client_sdk/wire/browsers.py`.  A page of an allowed origin gets the
headers that let it read the response: on every API, on errors, and on streams.  There are no
cookies, so credentials are never allowed.
"""

import re

from aiohttp import web

from client_sdk.wire import names
from client_sdk.wire.browsers import Verdict, Visit, is_same_origin, judge
from queue_service.errors import HostNotAllowed, OriginNotAllowed
from queue_service.web.keys import ADDRESSES, SETTINGS, VISITORS

#: What other sites may link to: pages and documents that only read.
PAGES = re.compile(r"/(?:console|chat|try(?:/[^/]+)?|openapi\.json|healthz|readyz)?")
METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
#: Request headers that a page may send when its preflight names none.
REQUEST_HEADERS = (
    "Authorization, Content-Type, Accept, Prefer, Last-Event-ID, If-Match, If-None-Match, "
    f"{names.IDEMPOTENCY_HEADER}, {names.USER_HEADER}, {names.GROUP_HEADER}"
)
#: Response headers that a page may read.
EXPOSED = (
    f"{names.REQUEST_ID_HEADER}, {names.INDEX_HEADER}, {names.TAGS_HEADER}, "
    f"{names.ERROR_CODE_HEADER}, {names.MEANT_HEADER}, "
    "ETag, Location, Preference-Applied, Retry-After, x-request-id"
)
#: How long a browser may remember a preflight, in seconds.
MAX_AGE_S = 600

_HEADER_NAMES = re.compile(r"[A-Za-z0-9_-]+(?:\s*,\s*[A-Za-z0-9_-]+)*")
_OWN_SITE = (None, "none", "same-origin")


def _is_page(request: web.Request) -> bool:
    """Say whether other sites may link to it: with a bare mount, the root is a queue."""
    is_queue = request.path == "/" and request.app[SETTINGS].bare_mount
    return PAGES.fullmatch(request.path) is not None and not is_queue


def admit(request: web.Request) -> web.Response | None:
    """Answer a preflight; return None for any other request.

    Raises HostNotAllowed or OriginNotAllowed.
    """
    headers, visitors = request.headers, request.app[VISITORS]
    host = request.app[ADDRESSES].authority(request)
    origin, site = headers.get("Origin"), headers.get("Sec-Fetch-Site")
    if origin is None and site in _OWN_SITE and visitors.hosts.allows(host):
        # Every client but a browser, and our own page.
        return None
    visit = Visit(
        host=host,
        origin=origin or "",
        site=site or "",
        mode=headers.get("Sec-Fetch-Mode", ""),
        destination=headers.get("Sec-Fetch-Dest", ""),
        opens_page=request.method in ("GET", "HEAD") and _is_page(request),
    )
    match judge(visit, visitors.hosts, visitors.origins):
        case Verdict.FOREIGN_HOST:
            raise HostNotAllowed(host)
        case Verdict.FOREIGN_ORIGIN:
            raise OriginNotAllowed(visit.origin)
    if request.method == "OPTIONS" and origin and "Access-Control-Request-Method" in headers:
        return _preflight(request)
    return None


def _preflight(request: web.Request) -> web.Response:
    wanted = request.headers.get("Access-Control-Request-Headers", "")
    headers = {
        "Access-Control-Allow-Methods": METHODS,
        "Access-Control-Allow-Headers": wanted
        if _HEADER_NAMES.fullmatch(wanted)
        else REQUEST_HEADERS,
        "Access-Control-Max-Age": str(MAX_AGE_S),
    }
    # Browsers mark requests of public pages to private addresses.
    if request.headers.get("Access-Control-Request-Private-Network") == "true":
        headers["Access-Control-Allow-Private-Network"] = "true"
    return web.Response(status=204, headers=headers)


async def let_pages_read(request: web.Request, response: web.StreamResponse) -> None:
    """Add what lets a page of an allowed origin read the response; called before each is sent."""
    visitors = request.app[VISITORS]
    # Caches must not serve one origin's response to another.
    varies = response.headers.get("Vary")
    response.headers["Vary"] = f"{varies}, Origin" if varies else "Origin"
    origin = request.headers.get("Origin")
    if origin is None or not visitors.origins.allows(origin):
        return
    if is_same_origin(origin, request.app[ADDRESSES].authority(request)):
        return
    response.headers["Access-Control-Allow-Origin"] = origin
    response.headers["Access-Control-Expose-Headers"] = EXPOSED
