"""The chat page and its files.

The files hold no secret and are public.  The page uses the token that its user enters, and the
same API as every other client.
"""

from collections.abc import Awaitable, Callable
from importlib.resources import files

from aiohttp import web

from queue_service.web.routing import PUBLIC, Api, Route

#: Only our own files, and talk only to us; nobody puts the page into a frame.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
}
_SCRIPTS = ("chat", "conversation", "jobs", "markdown", "pictures", "sentences", "turns")
_FILES = {
    "/chat": ("chat.html", "text/html"),
    "/chat/chat.css": ("chat.css", "text/css"),
    **{f"/chat/{name}.js": (f"{name}.js", "text/javascript") for name in _SCRIPTS},
}


def _serve(name: str, content_type: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    body = (files(__package__) / name).read_bytes()

    async def handle(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type=content_type, charset="utf-8", headers=_HEADERS)

    return handle


API = Api(tuple(Route("GET", path, PUBLIC, _serve(*file)) for path, file in _FILES.items()))
