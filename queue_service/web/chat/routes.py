"""The chat page and its files.

The files hold no secret and are public.  The page uses the token that its user enters, and the
same API as every other client.
"""

from queue_service.web.page_file import serve_file
from queue_service.web.routing import PUBLIC, Api, Route

#: Only our own files, and talk only to us; nobody puts the page into a frame.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_STYLES = ("base", "chat")
_SCRIPTS = ("chat", "conversation", "markdown", "pictures", "turns")
#: Those that the page for trying a service and the console use, too.
_SHARED = ("dom", "event_stream", "given_token", "jobs", "sentences")
_FILES = {
    "/chat": "chat.html",
    **{f"/chat/{name}.css": f"{name}.css" for name in _STYLES},
    **{f"/chat/{name}.js": f"{name}.js" for name in (*_SCRIPTS, *_SHARED)},
}

API = Api(
    tuple(
        Route("GET", path, PUBLIC, serve_file(__package__, name, _POLICY))
        for path, name in _FILES.items()
    )
)
