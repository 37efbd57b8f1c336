"""What a worker has answered, checked and converted for the store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from client_sdk.wire import worker as wire
from queue_service.delivery.subscriber import Subscriber
from queue_service.errors import FrameTooBig
from queue_service.service.file_errors import FilesFull, FileTooBig, NoSuchFile
from queue_service.service.service import Service
from queue_service.store.entry import MAX_REASON_LENGTH, Completed
from queue_service.store.payload import FileOfEntry, without_own_tags

#: The most tokens of one job that are counted: their sum stays exact in Lua.
MOST_TOKENS = 1_000_000_000


@dataclass(slots=True)
class Converted:
    """What the results of one message have become.

    items, done: what can be stored, and its form for the store.  too_big: refused, and still with
    the worker.  waiting, full: those for which there is no room in the file store, and why.
    """

    items: list[wire.Completion] = field(default_factory=list)
    done: list[Completed] = field(default_factory=list)
    too_big: list[wire.Completion] = field(default_factory=list)
    waiting: list[wire.Completion] = field(default_factory=list)
    full: FilesFull | None = None


async def convert(
    service: Service,
    subscriber: Subscriber,
    completions: Sequence[wire.Completion],
    *,
    most_tag_bytes: int,
) -> Converted:
    """Check and convert the results of one message."""
    found = Converted()
    for item in completions:
        try:
            done = await _to_completed(service, subscriber, item, most_tag_bytes=most_tag_bytes)
        except FilesFull as error:
            found.full = error
            found.waiting.append(item)
            continue
        if done is None:
            found.too_big.append(item)
            continue
        found.items.append(item)
        found.done.append(done)
    return found


async def _to_completed(
    service: Service, subscriber: Subscriber, item: wire.Completion, *, most_tag_bytes: int
) -> Completed | None:
    """Return a completion for the store; None when its result is too large.

    A large result of a worker that uploads none goes to a file here.  Raises FilesFull if there is
    no room for it now.  Of a result that is refused no file is left.
    """
    failed = item.failed or wire.Failure("")
    data: bytes | None = None
    tags: dict[str, str] = {}
    files: tuple[FileOfEntry, ...] = ()
    if (result := item.result) is not None:
        try:
            data, files = await _content(service, result)
        except (FrameTooBig, FileTooBig, NoSuchFile):
            return None
        if _size(result.tags) > most_tag_bytes:
            await service.files.settle(files)
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
        prompt_tokens=min(item.prompt_tokens, MOST_TOKENS),
        completion_tokens=min(item.completion_tokens, MOST_TOKENS),
        files=files,
    )


async def _content(service: Service, result: wire.Result) -> tuple[bytes, tuple[FileOfEntry, ...]]:
    limits = service.sink.limits
    if result.file:
        file = await service.files.uploaded(result.file)
        if file.size_bytes > limits.payload_bytes:
            await service.files.settle((file,))
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
