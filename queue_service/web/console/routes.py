"""The console and its files; it uses modules of the chat page, too.

The files hold no secret and are public.  The page uses the token that its user enters, and the
same APIs as every other client.
"""

from importlib.resources import files

from queue_service.web.page_file import serve_file
from queue_service.web.routing import PUBLIC, Api, Route

#: Only our own files and requests to us; pictures and sounds that the page has fetched with the
#: token; no frame may contain the page.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
#: The page's main path.  A bare mount needs it for the queues of its service; then the page is only
#: at the other one.
ROOT = "/"
_PAGE = "/console"


def _own_files() -> list[str]:
    assert __package__ is not None
    found = (one.name for one in files(__package__).iterdir())
    return sorted(name for name in found if name.endswith((".css", ".js")))


API = Api(
    (
        *(
            Route("GET", path, PUBLIC, serve_file(__package__, "console.html", _POLICY))
            for path in (ROOT, _PAGE)
        ),
        *(
            Route("GET", f"{_PAGE}/{name}", PUBLIC, serve_file(__package__, name, _POLICY))
            for name in _own_files()
        ),
    )
)
