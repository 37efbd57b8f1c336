"""The page for trying a service, and its files; it uses modules and styles of the chat page, too.

The files hold no secret and are public.  The page uses the token that its user enters, and the
same API as every other client.
"""

from queue_service.web.page_file import serve_file
from queue_service.web.routing import PUBLIC, Api, Route

#: As the chat page's, and pictures, sounds and videos that the page has fetched with the token.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_SCRIPTS = ("fields", "files", "form", "output", "result", "run", "schema", "snippets", "try")
# The files are beside /try, because any word below it may be a service.
_FILES = {
    "/try/{service}": "try.html",
    "/try-page/try.css": "try.css",
    **{f"/try-page/{name}.js": f"{name}.js" for name in _SCRIPTS},
}

API = Api(
    (
        Route("GET", "/try", PUBLIC, serve_file(__package__, "try.html", _POLICY)),
        *(
            Route("GET", path, PUBLIC, serve_file(__package__, name, _POLICY, root="../"))
            for path, name in _FILES.items()
        ),
    )
)
