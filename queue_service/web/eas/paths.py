"""The paths of all queues: one resource, because services come and go."""

from aiohttp import web

from client_sdk.wire import names
from queue_service.web.routing import Handler, answer_expectation

_BEFORE = f"{names.EAS_PREFIX}/"


class QueuePaths(web.AbstractRouteDef):
    """Serves `/api/predict/{service}` and everything below it, which is the `suffix`.

    The library's table of paths cannot change once it serves.  Matching one of its patterns costs a
    tenth of a put; splitting the path at a slash costs nearly nothing.
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
    """Undo the two escapes that the library leaves in a path, to keep slashes apart."""
    if "%" not in part:
        return part
    return part.replace("%2F", "/").replace("%25", "%")
