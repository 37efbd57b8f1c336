"""A middleware that protects small listeners (metrics ports, local control) from web pages."""

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from client_sdk.wire.browsers import Hosts, Origins, Verdict, Visit, judge


def keep_pages_out(hosts: Hosts, *, setting: str, may_be_linked: bool) -> Middleware:
    """Return a middleware that refuses unknown host names and pages of other origins.

    setting: the setting that allows more names, "" if there is none.  may_be_linked: whether other
    sites may link to what is served, because reading it changes nothing.
    """
    nobody = Origins()

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        headers = request.headers
        visit = Visit(
            host=",".join(dict.fromkeys(headers.getall("Host", []))),
            origin=headers.get("Origin", ""),
            site=headers.get("Sec-Fetch-Site", ""),
            mode=headers.get("Sec-Fetch-Mode", ""),
            destination=headers.get("Sec-Fetch-Dest", ""),
            opens_page=may_be_linked and request.method in ("GET", "HEAD"),
        )
        match judge(visit, hosts, nobody):
            case Verdict.FOREIGN_HOST:
                more = f"; {setting} allows more names" if setting else ""
                came = visit.host[:128]
                sentence = f"Host: expected a loopback name or an IP address, got {came!r}{more}"
                return web.Response(status=421, text=sentence)
            case Verdict.FOREIGN_ORIGIN:
                came = repr(visit.origin[:128]) if visit.origin else "another site's page"
                sentence = f"Origin: expected no web page of another origin, got {came}"
                return web.Response(status=403, text=sentence)
        return await handler(request)

    return guard
