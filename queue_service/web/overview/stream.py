"""Streams the overview as server-sent events.

One `overview` event begins the stream, and another follows each time that something has changed.
All followers of a process share its reads of the store.
"""

import time

from aiohttp import web

from queue_service.delivery.doorbell import wait_for_any
from queue_service.web.connection import begin_stream, cut, has_left, leaving, write_piece
from queue_service.web.keys import ADMISSION, SERVICES
from queue_service.web.overview.look import PULSE, overview
from queue_service.web.overview.pulse import PERIOD_S
from queue_service.web.routing import CallerSomewhere
from queue_service.web.strict_json import dumps

#: After this many silent seconds the stream sends a comment, so that no proxy closes it.
HEARTBEAT_S = 15.0
#: How long clients wait before they reconnect, in ms; sent in the stream.
RETRY_MS = 2000


async def follow_all(request: web.Request, somewhere: CallerSomewhere) -> web.StreamResponse:
    """Stream the overview until the client disconnects or its token ends."""
    response = web.StreamResponse(headers={"Cache-Control": "no-store"})
    response.content_type, response.charset = "text/event-stream", "utf-8"
    if request.method == "HEAD":
        # The body of a GET never ends.
        return web.Response(content_type=response.content_type, charset="utf-8")
    await begin_stream(request, response)
    if (admission := request.get(ADMISSION)) is not None:
        # The client connects again and gets the status that says why.
        admission.on_end(lambda: cut(request))
    try:
        await _run(request, somewhere, response)
    except ConnectionResetError:
        cut(request)
    return response


async def _run(
    request: web.Request, somewhere: CallerSomewhere, response: web.StreamResponse
) -> None:
    pulse, services, gone = request.app[PULSE], request.app[SERVICES], leaving(request)
    shown, written_at = "", time.monotonic()
    await write_piece(request, response, f"retry: {RETRY_MS}\n\n".encode())
    async with pulse.followed():
        # With a read of another follower there is something to show at once.
        seen = pulse.bell.rings if not pulse.described else pulse.bell.rings - 1
        while not has_left(request) and not services.draining:
            await wait_for_any((pulse.bell, gone), (seen, gone.rings), timeout_s=5 * PERIOD_S)
            if pulse.bell.rings > seen:
                seen = pulse.bell.rings
                text = dumps(overview(request, somewhere, pulse))
                if text != shown:
                    shown, written_at = text, time.monotonic()
                    event = f"event: overview\ndata: {text}\n\n"
                    await write_piece(request, response, event.encode())
            if time.monotonic() - written_at >= HEARTBEAT_S:
                written_at = time.monotonic()
                await write_piece(request, response, b": still here\n\n")
