"""The blocking client: the same methods as the asyncio one, for scripts and threads.

    with QueueClient("http://127.0.0.1:8080", "demo", token=token) as client:
        receipt = client.put(b"a question")
        frames = client.sink.get(request_id=receipt.request_id, timeout_s=30)

Every method calls the one of `AsyncQueue` with the same name; see its documentation.
"""

from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Self, TypeVar

from client_sdk import errors
from client_sdk.calls import Data, Entries, Position, Receipt
from client_sdk.client import AsyncQueue, AsyncQueueClient
from client_sdk.loop_thread import LoopThread
from client_sdk.subscription import PING_INTERVAL_S, SILENCE_S, Subscription
from client_sdk.sync_batches import Batches
from client_sdk.sync_files import Files
from client_sdk.sync_jobs import Jobs
from client_sdk.transport import RetryPolicy
from client_sdk.wire import names
from client_sdk.wire.frame import Frame

T = TypeVar("T")

_Pick = Callable[[AsyncQueueClient], AsyncQueue]


class Watch:
    """A blocking iterator over the frames of one queue; see `Subscription`."""

    def __init__(self, thread: LoopThread, subscription: Subscription) -> None:
        """`watch` creates this object; do not create one yourself."""
        self._thread = thread
        self._subscription = subscription
        self._loop = thread.loop

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Frame:
        if self._thread.loop is not self._loop:
            raise errors.Closed(
                "the client of this watch was closed, or belongs to the parent process"
            )
        try:
            return self._thread.run(lambda client: self._subscription.__anext__())
        except StopAsyncIteration:
            raise StopIteration from None

    def close(self) -> None:
        """Stop watching; other subscribers get uncommitted frames.  A second call does nothing."""
        if self._thread.loop is self._loop and self._loop is not None:
            self._thread.run(lambda client: self._subscription.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class Queue:
    """One queue of a service; the blocking version of `AsyncQueue`.

    You can use it from several threads at once, but not inside a running event loop.
    """

    def __init__(self, thread: LoopThread, pick: _Pick) -> None:
        """QueueClient creates queues.  pick: returns this queue of the asyncio client."""
        self._thread = thread
        self._pick = pick

    def put(
        self,
        data: Data,
        *,
        tags: Mapping[str, str] | None = None,
        priority: int = 0,
        request_id: str = "",
        idempotency_key: str = "",
        path: str = "",
        content_type: str = "",
    ) -> Receipt:
        """Store an entry and return its index and request id."""
        return self._run(
            lambda queue: queue.put(
                data,
                tags=tags,
                priority=priority,
                request_id=request_id,
                idempotency_key=idempotency_key,
                path=path,
                content_type=content_type,
            )
        )

    def get(
        self,
        *,
        index: int = 0,
        length: int = 1,
        timeout_s: float = 0.0,
        auto_delete: bool = True,
        request_id: str = "",
        tags: Mapping[str, str] | None = None,
    ) -> list[Frame]:
        """Return up to `length` frames from `index` on, or an empty list."""
        return self._run(
            lambda queue: queue.get(
                index=index,
                length=length,
                timeout_s=timeout_s,
                auto_delete=auto_delete,
                request_id=request_id,
                tags=tags,
            )
        )

    def watch(
        self,
        *,
        index: int = 0,
        window: int = 5,
        tags: Mapping[str, str] | None = None,
        index_only: bool = False,
        auto_commit: bool = False,
        ping_interval_s: float = PING_INTERVAL_S,
        silence_s: float = SILENCE_S,
    ) -> Watch:
        """Return an iterator over frames that reconnects by itself."""

        async def made(queue: AsyncQueue) -> Subscription:
            return queue.watch(
                index=index,
                window=window,
                tags=tags,
                index_only=index_only,
                auto_commit=auto_commit,
                ping_interval_s=ping_interval_s,
                silence_s=silence_s,
            )

        return Watch(self._thread, self._run(made))

    def commit(self, entries: Entries) -> None:
        """Commit entries: they are done and leave the queue."""
        self._run(lambda queue: queue.commit(entries))

    def reject(self, entries: Entries, *, code: str = "", reason: str = "") -> None:
        """Return deliveries that were not done; they are delivered again."""
        self._run(lambda queue: queue.reject(entries, code=code, reason=reason))

    def delete(self, entries: Entries) -> None:
        """Remove entries, even if a subscriber holds them."""
        self._run(lambda queue: queue.delete(entries))

    def truncate(self, index: int) -> None:
        """Remove every entry before `index`; the entry at `index` stays."""
        self._run(lambda queue: queue.truncate(index))

    def search(self, index: int) -> Position | None:
        """Return the position of an entry; None if the queue has no entry with this index."""
        return self._run(lambda queue: queue.search(index))

    def attributes(self) -> dict[str, str]:
        """Return the queue's attributes, for example `stream.length`."""
        return self._run(lambda queue: queue.attributes())

    def count(self, *, tags: Mapping[str, str] | None = None, priority: int | None = None) -> int:
        """Return the number of stored entries with these tags and this priority."""
        return self._run(lambda queue: queue.count(tags=tags, priority=priority))

    def end_stream(self, *, force: bool = False) -> None:
        """Refuse further puts; stored entries are delivered as before."""
        self._run(lambda queue: queue.end_stream(force=force))

    def open_stream(self) -> None:
        """Accept puts again after `end_stream`."""
        self._run(lambda queue: queue.open_stream())

    def _run(self, verb: Callable[[AsyncQueue], Awaitable[T]]) -> T:
        return self._thread.run(lambda client: verb(self._pick(client)))


class QueueClient(Queue):
    """A service: this object is its input queue, `sink` its sink, `jobs` its jobs; `files` and
    `batches` are those of the token's owner.

    Close it, or use it as a context manager.
    """

    def __init__(
        self,
        url: str,
        service: str,
        *,
        token: str = "",
        uid: str = "",
        gid: str = names.DEFAULT_GROUP,
        timeout_s: float = 30.0,
        connections: int = 100,
        retry: RetryPolicy | None = None,
        ca_file: str = "",
    ) -> None:
        """Create a client; nothing is sent before the first call.  See AsyncQueueClient."""
        thread = LoopThread(
            lambda: AsyncQueueClient(
                url,
                service,
                token=token,
                uid=uid,
                gid=gid,
                timeout_s=timeout_s,
                connections=connections,
                retry=retry,
                ca_file=ca_file,
            )
        )
        super().__init__(thread, lambda client: client)
        self.sink = Queue(thread, lambda client: client.sink)
        self.jobs = Jobs(thread)
        self.files = Files(thread)
        self.batches = Batches(thread)

    @property
    def uid(self) -> str:
        """The name under which this client watches and commits."""
        return self._thread.run(_uid)

    def close(self) -> None:
        """Close all connections.  A second call does nothing."""
        self._thread.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


async def _uid(client: AsyncQueueClient) -> str:
    return client.uid
