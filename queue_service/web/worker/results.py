"""What a worker has answered, checked and converted for the store."""

from collections.abc import Mapping

from client_sdk.wire import worker as wire
from queue_service.delivery.subscriber import Subscriber
from queue_service.errors import FrameTooBig
from queue_service.service.file_errors import FilesFull, FileTooBig, NoSuchFile
from queue_service.service.service import Service
from queue_service.store.entry import MAX_REASON_LENGTH, Completed
from queue_service.store.payload import FileOfEntry, without_own_tags


async def to_completed(
    service: Service, subscriber: Subscriber, item: wire.Completion, *, most_tag_bytes: int
) -> Completed | None:
    """Return a completion for the store; None when its result is too large.

    A large result of a worker that uploads none goes to a file here.
    """
    failed = item.failed or wire.Failure("")
    data: bytes | None = None
    tags: dict[str, str] = {}
    files: tuple[FileOfEntry, ...] = ()
    if (result := item.result) is not None:
        if _size(result.tags) > most_tag_bytes:
            return None
        try:
            data, files = await _content(service, result)
        except (FrameTooBig, FileTooBig, FilesFull, NoSuchFile):
            return None
        tags = without_own_tags(result.tags)
    return Completed(
        subscriber.gid,
        subscriber.uid,
        item.index,
        item.attempt,
        data,
        tags,
        failed_code=failed.code,
        failed_reason=failed.reason[:MAX_REASON_LENGTH],
        failed_type=failed.type,
        files=files,
    )


async def _content(service: Service, result: wire.Result) -> tuple[bytes, tuple[FileOfEntry, ...]]:
    limits = service.sink.limits
    if result.file:
        file = await service.files.uploaded(result.file)
        if file.size_bytes > limits.payload_bytes:
            raise FrameTooBig(file.size_bytes, limits.payload_bytes)
        return b"", (file,)
    if len(result.data) > limits.payload_bytes:
        raise FrameTooBig(len(result.data), limits.payload_bytes)
    if len(result.data) <= limits.stored_bytes:
        return result.data, ()
    return b"", (await service.files.store_bytes(result.data, limits),)


def _size(tags: Mapping[str, str]) -> int:
    """Return how many characters tags have: a client may get them as headers."""
    return sum(len(name) + len(value) for name, value in tags.items())
