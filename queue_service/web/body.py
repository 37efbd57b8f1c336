"""Reading a request's body within its limits."""

from aiohttp import web

from queue_service.errors import BadParameter, FrameTooBig, SlowBody
from queue_service.web.tokens import time_limit


async def read_body(request: web.Request, *, limit_bytes: int, timeout_s: float) -> bytes:
    """Return the whole body.

    Raises FrameTooBig as soon as it is known to be too big, before the rest is read, and
    SlowBody when it takes too long, and BadParameter when it is not encoded as its head says.  A
    connection that ends midway raises what aiohttp raises.
    """
    announced = request.content_length
    if announced is not None and announced > limit_bytes:
        raise FrameTooBig(announced, limit_bytes)
    content = request.content
    if content.is_eof():
        # It came together with the head, as most do: no timer, no waiting.
        body = content.read_nowait()
        if len(body) > limit_bytes:
            raise FrameTooBig(None, limit_bytes)
        return body
    chunks: list[bytes] = []
    size = 0
    try:
        async with time_limit(request, timeout_s):
            while chunk := await content.readany():
                size += len(chunk)
                if size > limit_bytes:
                    raise FrameTooBig(None, limit_bytes)
                chunks.append(chunk)
    except TimeoutError:
        raise SlowBody(timeout_s) from None
    except web.RequestPayloadError as error:
        # Nothing can be read behind it: the library is not to try, and answers no more here.
        content.feed_eof()
        request.protocol.close()
        came = " ".join(str(error).split())[:128]
        raise BadParameter("the body", "one that is encoded as the head says", came) from None
    return b"".join(chunks)
