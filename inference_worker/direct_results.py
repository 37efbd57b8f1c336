"""Sends large results straight to the storage of the queue service, if that has one."""

import asyncio
import hashlib
import io
import logging
import os

from client_sdk import errors, file_calls
from client_sdk.content import Content
from client_sdk.direct_upload import put_directly
from inference_worker.file_store import FileStore

#: A smaller result, in bytes, goes through the queue service: hashing it first would cost more.
LEAST_BYTES = 16 * 1024 * 1024

log = logging.getLogger(__name__)


async def sent_directly(store: FileStore, file: io.BufferedReader, content_type: str) -> str | None:
    """Send a result to the storage, and return the id of its file; None if that is not possible.

    Raises FrameTooBig, and the OSError of reading the file.
    """
    size = os.fstat(file.fileno()).st_size
    if size < LEAST_BYTES or not store.ways.direct:
        return None
    try:
        digest = await asyncio.to_thread(hashlib.file_digest, file, "sha256")
        begin = file_calls.begin_result(
            size_bytes=size, sha256=digest.hexdigest(), content_type=content_type
        )
        begun = await store.transport.send(store.path, begin, under="root")
        if not begun.url:
            store.ways.direct = False
            return None
        file.seek(0)
        if not await put_directly(store.transport, begun, Content(file)):
            log.info("Large results are sent through the queue service from now on.")
            store.ways.direct = False
        complete = file_calls.complete_result(begun.id)
        while not await store.transport.send(store.path, complete, under="root"):
            pass
    except errors.FrameTooBig:
        raise
    except errors.QueueError as error:
        # An older queue service has no such path.
        store.ways.direct = store.ways.direct and error.status not in (404, 405)
        return None
    finally:
        file.seek(0)
    return begun.id
