"""List, describe and delete files."""

from aiohttp import web

from queue_service.errors import BadParameter
from queue_service.service.files import FileOwner
from queue_service.web.files.described import described, listed
from queue_service.web.keys import FILES
from queue_service.web.parameters import Parameters
from queue_service.web.strict_json import json_response
from queue_service.web.tokens import settle

#: The files of one page: by default, and at most, which is OpenAI's.
PAGE, MAX_PAGE = 100, 10_000


async def list_files(request: web.Request, owner: FileOwner) -> web.Response:
    """List the owner's files, the newest first; `purpose` filters what a page has."""
    asked = Parameters(request)
    order = asked.text("order", "desc")
    if order not in ("asc", "desc"):
        raise BadParameter("order", "asc or desc", repr(order[:64]))
    count = asked.number("limit", default=PAGE, least=1, most=MAX_PAGE)
    # One more than the page has: then there are more.
    found = await request.app[FILES].list(
        owner, after=asked.text("after"), count=count + 1, newest_first=order == "desc"
    )
    purpose = asked.text("purpose")
    page = [file for file in found[:count] if not purpose or file.purpose == purpose]
    return json_response(listed(page, has_more=len(found) > count))


async def get_file(request: web.Request, owner: FileOwner) -> web.Response:
    """Describe one file."""
    file = await request.app[FILES].find(owner, request.match_info["file"])
    return json_response(described(file))


async def delete_file(request: web.Request, owner: FileOwner) -> web.Response:
    """Delete one file and its content."""
    file_id = request.match_info["file"]
    settle(request)
    await request.app[FILES].delete(owner, file_id)
    return json_response({"id": file_id, "object": "file", "deleted": True})
