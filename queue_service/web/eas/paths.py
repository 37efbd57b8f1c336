"""Where the queues of every service are: one look at a path, whatever services there are."""

from aiohttp import web

from client_sdk.wire import names
from queue_service.web.middleware import Handler, answer_expectation

_BEFORE = f"{names.EAS_PREFIX}/"


class QueuePaths(web.AbstractRouteDef):
    """Serves `/api/predict/{service}` and whatever lies below it, which is the `suffix`.

    Services come and go, while the library's table of paths is fixed once it serves; and
    matching one of its patterns costs a tenth of a put, which cutting a path at a slash does not.
    """

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    def register(self, router: web.UrlDispatcher) -> list[web.AbstractRoute]:
        """Add the paths to the library's table."""
        below = _Below(names.EAS_PREFIX)
        router.register_resource(below)
        return [below.add_route("*", self._handler, expect_handler=answer_expectation)]


class _Below(web.PlainResource):
    def _match(self, path: str) -> dict[str, str] | None:
        if not path.startswith(_BEFORE):
            return None
        service, _, suffix = path[len(_BEFORE) :].partition("/")
        return {"service": _decoded(service), "suffix": _decoded(suffix)} if service else None


def _decoded(part: str) -> str:
    """Undo the two escapes that the library leaves in a path, so as to tell slashes apart."""
    if "%" not in part:
        return part
    return part.replace("%2F", "/").replace("%25", "%")
