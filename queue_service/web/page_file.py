"""Serves the files of pages, each with its Content-Security-Policy."""

from collections.abc import Awaitable, Callable
from importlib.resources import files

from aiohttp import web

_TYPES = {"html": "text/html", "css": "text/css", "js": "text/javascript"}


def serve_file(
    package: str | None, name: str, policy: str, *, root: str = ""
) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Return the handler of one file.

    policy: its Content-Security-Policy.  root: where our paths begin, as seen from the page: it
    replaces `{root}` in the file, because a proxy may add a prefix.
    """
    assert package is not None, "called from a module of the package with the file"
    body = (files(package) / name).read_bytes().replace(b"{root}", root.encode())
    content_type = _TYPES[name.rpartition(".")[2]]
    headers = {
        "Content-Security-Policy": policy,
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-cache",
    }

    async def handle(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type=content_type, charset="utf-8", headers=headers)

    return handle
