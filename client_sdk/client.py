"""The asyncio client: every verb of a queue, over one HTTP session.

    async with AsyncQueueClient("http://127.0.0.1:8080", "demo", token=token) as client:
        receipt = await client.put(b"a question")
        frames = await client.sink.get(request_id=receipt.request_id, timeout_s=30)

The client is the service's input queue; `client.sink` is its sink, with the same verbs.
"""

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Literal, Self

from client_sdk import calls
from client_sdk.calls import Entries, Position, Receipt
from client_sdk.jobs import AsyncJobs
from client_sdk.subscription import PING_INTERVAL_S, SILENCE_S, Subscription
from client_sdk.transport import RetryPolicy, Transport
from client_sdk.wire import names
from client_sdk.wire.frame import Frame

Role = Literal["input", "sink"]

#: The longest that one request asks the service to wait, in seconds.  Gateways commonly cut
#: requests off after 30 or 60 s; a longer get is made of several.
LONGEST_POLL_S = 20.0

#: The service may answer a long poll this early, in seconds, so that slow answers still arrive
#: within the time-outs of impatient clients.
EARLY_ANSWER_S = 0.5


class AsyncQueue:
    """One queue of a service.

    Every method raises a QueueError of `client_sdk.errors` when the verb was not done, after
    the retries that its `RetryPolicy` permits.  Indexes are 1 to 2**63 - 1, in the order of
    arrival.  Where a method takes entries it takes an index, a frame, or several of either.
    """

    def __init__(self, transport: Transport, role: Role) -> None:
        """Made by AsyncQueueClient."""
        self._transport = transport
        self.role = role
        self._path = f"/{names.SINK}" if role == "sink" else ""

    async def put(
        self,
        data: bytes | str,
        *,
        tags: Mapping[str, str] | None = None,
        priority: int = 0,
        request_id: str = "",
        idempotency_key: str = "",
        path: str = "",
        content_type: str = "",
    ) -> Receipt:
        """Store an entry and return its index and request id.

        tags: travel with the entry and are on its result too.
        priority: 0 is the normal order; 1 goes out before all normal entries.
        request_id: what the result will carry; by default one is made.
        idempotency_key: two puts with one key store one entry, for as long as the service
            remembers the key.  By default it is the request id you gave, because one request is
            one piece of work; in the sink, and without a request id, each call has its own.
            So the retries of a call never store a second entry.
        path, content_type: handed to the worker, for engines that are HTTP servers.

        Raises FrameTooBig, QueueFull, BadParameter; nothing is stored then.
        """
        call = calls.put(
            data,
            tags=tags,
            priority=priority,
            request_id=request_id,
            idempotency_key=idempotency_key or (request_id if self.role == "input" else ""),
            path=path,
            content_type=content_type,
        )
        return await self._transport.send(self._path, call)

    async def get(
        self,
        *,
        index: int = 0,
        length: int = 1,
        timeout_s: float = 0.0,
        auto_delete: bool = True,
        request_id: str = "",
        tags: Mapping[str, str] | None = None,
    ) -> list[Frame]:
        """Return up to `length` frames from `index` on, or an empty list.

        index: the first to consider; 0 is the oldest, -1 the newest.
        timeout_s: how long to wait for frames; what is there after each 20 s of it is returned.
        auto_delete: remove what is returned.
        request_id, tags: only frames that carry these.

        Raises AnswerLost when a deleting get was cut off: what it had read may be gone.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        backoff = self._transport.retry.backoff()
        wait_s = timeout_s
        while True:
            wait_s = min(wait_s, LONGEST_POLL_S)
            asked_at = loop.time()
            call = calls.get(
                index=index,
                length=length,
                timeout_s=wait_s,
                auto_delete=auto_delete,
                request_id=request_id,
                tags=tags,
            )
            frames = await self._transport.send(self._path, call)
            if frames or deadline - loop.time() < EARLY_ANSWER_S:
                return frames
            if loop.time() - asked_at < wait_s / 2:
                # The service did not wait, because it is stopping or permits shorter waits only:
                # that must not turn this into a storm of requests.
                await asyncio.sleep(backoff.next_delay_s())
            wait_s = max(0.0, deadline - loop.time())

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
    ) -> Subscription:
        """Return a subscription: an async iterator over frames that connects again by itself.

        index: only entries from here on; 0 is all, -1 is what arrives from now on.
        window: how many frames may be given out that were not committed yet.
        tags: only frames that carry these.  index_only: frames without their data.
        auto_commit: the service commits each frame as soon as it is sent; what is on the way
            when a connection breaks is lost then.
        ping_interval_s, silence_s: how often to say that we are here; after how long a
            connection on which nothing comes back counts as broken.

        A frame can come a second time after a reconnect, unless it was committed.  One client
        can watch a queue once at a time: a second watch with the same uid takes the first over.
        """
        query = calls.watch_query
        return Subscription(
            self._transport,
            self._path,
            query=lambda start: query(
                index=start,
                window=window,
                index_only=index_only,
                auto_commit=auto_commit,
                tags=tags,
            ),
            index=index,
            ping_interval_s=ping_interval_s,
            silence_s=silence_s,
        )

    async def commit(self, entries: Entries) -> None:
        """Say that these are done with: they leave the queue.  Twice is as good as once."""
        for batch in calls.in_batches(entries):
            await self._transport.send(self._path, calls.commit(batch))

    async def reject(self, entries: Entries, *, code: str = "", reason: str = "") -> None:
        """Give back deliveries that were not done; they go out again.

        code: why, as one capitalised word; `Shutdown` is not counted against the entry.
        """
        for batch in calls.in_batches(entries):
            await self._transport.send(self._path, calls.reject(batch, code=code, reason=reason))

    async def delete(self, entries: Entries) -> None:
        """Remove these, whoever holds them.  Twice is as good as once."""
        for batch in calls.in_batches(entries):
            await self._transport.send(self._path, calls.delete(batch))

    async def truncate(self, index: int) -> None:
        """Remove every entry before `index`, which itself stays."""
        await self._transport.send(self._path, calls.truncate(index))

    async def search(self, index: int) -> Position | None:
        """Return where an entry is; None when the queue has none with this index."""
        return await self._transport.send(self._path, calls.search(index))

    async def attributes(self) -> dict[str, str]:
        """Return the queue's attributes, for example `stream.length`."""
        return await self._transport.send(self._path, calls.attributes())

    async def count(
        self, *, tags: Mapping[str, str] | None = None, priority: int | None = None
    ) -> int:
        """Return how many entries are stored that have these tags and this priority.

        priority: 0 counts the normal entries, 1 those that go first, None both.
        """
        return await self._transport.send(self._path, calls.count(tags=tags, priority=priority))

    async def end_stream(self, *, force: bool = False) -> None:
        """Let the queue take no more puts; what it has is delivered as before.

        force: also drop every entry that nobody holds.
        """
        await self._transport.send(self._path, calls.end_stream(ended=True, force=force))

    async def open_stream(self) -> None:
        """Let an ended queue take puts again."""
        await self._transport.send(self._path, calls.end_stream(ended=False))


class AsyncQueueClient(AsyncQueue):
    """A service: this object is its input queue, `sink` its sink, `jobs` its jobs.

    Belongs to the event loop of its first call.  Close it, or use it as a context manager.
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
        """Describe a client; nothing is sent before the first verb.

        url: the queue service, for example http://127.0.0.1:8080; several replicas with commas.
        token: sent in `Authorization` as it is.
        uid, gid: the user, by default a name nobody else has, and its group.
        timeout_s: the longest wait for an answer, on top of what a get asks to wait.
        connections: the most to hold open at once.
        ca_file: the certificates that are trusted (PEM); by default PENSTOCK_CA_FILE's, or the
            system's.
        """
        transport = Transport(
            url,
            service,
            token=token,
            uid=uid,
            gid=gid,
            timeout_s=timeout_s,
            connections=connections,
            retry=retry or RetryPolicy(),
            ca_file=ca_file,
        )
        super().__init__(transport, "input")
        self.sink = AsyncQueue(transport, "sink")
        self.jobs = AsyncJobs(transport)

    @property
    def uid(self) -> str:
        """The name under which this client watches and commits."""
        return self._transport.uid

    async def close(self) -> None:
        """Close the connections of both queues.  A second call does nothing."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()
