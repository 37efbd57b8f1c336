"""A watch connects again by itself, and stops when that cannot help."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import WSMsgType, web

from client_sdk import AsyncQueueClient, RetryPolicy, Subscription, errors
from client_sdk.wire import frame as wire
from client_sdk.wire.codes import CloseCode
from client_sdk.wire.frame import Frame
from tests.client_sdk.peers import answer, serving
from tests.waiting import wait_until

FAST = RetryPolicy(first_delay_s=0.001, most_delay_s=0.01)

Scene = Callable[[web.WebSocketResponse], Awaitable[None]]


class WatchPeer:
    """Plays one scene for each connection; the last one again and again."""

    def __init__(self, *scenes: Scene | web.Response, autoping: bool = True) -> None:
        self.scenes = list(scenes)
        self.autoping = autoping
        self.queries: list[dict[str, str]] = []
        self.pings = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.queries.append(dict(request.query))
        scene = self.scenes.pop(0) if len(self.scenes) > 1 else self.scenes[0]
        if isinstance(scene, web.Response):
            return scene
        socket = web.WebSocketResponse(autoping=False)
        await socket.prepare(request)
        await scene(socket)
        async for message in socket:
            if message.type is WSMsgType.PING:
                self.pings += 1
                if self.autoping:
                    await socket.pong(message.data)
        return socket


def frames(*indexes: int) -> Scene:
    async def scene(socket: web.WebSocketResponse) -> None:
        for index in indexes:
            await socket.send_bytes(wire.encode(Frame(index, {"requestId": "r"}, b"x")))

    return scene


def closing(code: int, *indexes: int) -> Scene:
    async def scene(socket: web.WebSocketResponse) -> None:
        await frames(*indexes)(socket)
        await socket.close(code=code)

    return scene


def leaving(code: int, *indexes: int) -> Scene:
    """Say why, and be gone before the other side can reply."""

    async def scene(socket: web.WebSocketResponse) -> None:
        await frames(*indexes)(socket)
        assert socket._writer is not None
        await socket._writer.close(code)
        await cut()(socket)

    return scene


def cut(*indexes: int) -> Scene:
    async def scene(socket: web.WebSocketResponse) -> None:
        await frames(*indexes)(socket)
        assert socket._req is not None
        assert socket._req.transport is not None
        socket._req.transport.close()

    return scene


@asynccontextmanager
async def watching(peer: WatchPeer, **arguments: float) -> AsyncIterator[Subscription]:
    async with (
        serving(peer.handle) as url,
        AsyncQueueClient(url, "svc", retry=FAST) as client,
        client.watch(**arguments) as watch,  # type: ignore[arg-type]
    ):
        yield watch


async def took(watch: Subscription, count: int) -> list[int]:
    async with asyncio.timeout(30):
        return [(await anext(watch)).index for _ in range(count)]


async def test_a_watch_yields_the_frames_that_are_pushed() -> None:
    peer = WatchPeer(frames(1, 2, 3))
    async with watching(peer, window=7) as watch:
        assert await took(watch, 3) == [1, 2, 3]
    assert peer.queries == [
        {
            "_watch_": "true",
            "_index_": "0",
            "_window_": "7",
            "_index_only_": "false",
            "_auto_commit_": "false",
        }
    ]


@pytest.mark.parametrize(
    "interruption",
    [
        cut(1),
        closing(CloseCode.GOING_AWAY, 1),
        closing(CloseCode.LEASE_LOST, 1),
        closing(CloseCode.STORE_UNAVAILABLE, 1),
    ],
)
async def test_a_watch_that_is_interrupted_goes_on(interruption: Scene) -> None:
    peer = WatchPeer(interruption, answer(503), frames(2))
    async with watching(peer) as watch:
        assert await took(watch, 2) == [1, 2]
    assert len(peer.queries) == 3


async def test_a_watch_from_now_on_does_not_skip_what_came_while_it_was_away() -> None:
    peer = WatchPeer(cut(17, 18), frames(18, 19))
    async with watching(peer, index=-1) as watch:
        assert await took(watch, 4) == [17, 18, 18, 19]
    assert [query["_index_"] for query in peer.queries] == ["-1", "17"]


@pytest.mark.parametrize(
    ("ending", "kind"),
    [
        (answer(400, Error_Code="BAD_PARAMETER"), errors.BadParameter),
        (answer(401, Error_Code="UNAUTHORIZED"), errors.Unauthorized),
        (answer(404, Error_Code="NO_SUCH_SERVICE"), errors.NoSuchService),
        (closing(CloseCode.TAKEN_OVER), errors.TakenOver),
        (closing(CloseCode.UNSUPPORTED), errors.BadMessage),
    ],
)
async def test_a_watch_ends_with_an_error_when_connecting_again_cannot_help(
    ending: Scene | web.Response, kind: type[errors.QueueError]
) -> None:
    peer = WatchPeer(ending)
    async with watching(peer) as watch:
        with pytest.raises(kind):
            await took(watch, 1)
    assert len(peer.queries) == 1


async def test_the_reason_of_a_close_is_known_even_when_nobody_is_left_to_reply_to() -> None:
    peer = WatchPeer(leaving(CloseCode.TAKEN_OVER, 1))
    async with watching(peer) as watch:
        await took(watch, 1)
        socket = watch._websocket
        assert socket is not None
        await wait_until(lambda: socket.get_extra_info("peername") is None, "the peer has gone")
        with pytest.raises(errors.TakenOver):
            await took(watch, 1)


async def test_a_watch_pings_while_nobody_reads_it() -> None:
    peer = WatchPeer(frames(1))
    async with watching(peer, ping_interval_s=0.02) as watch:
        await took(watch, 1)
        await wait_until(lambda: peer.pings >= 3, "three pings came")


async def test_a_watch_on_which_nothing_comes_back_connects_again() -> None:
    peer = WatchPeer(frames(1), frames(2), autoping=False)
    async with watching(peer, ping_interval_s=0.02, silence_s=0.1) as watch:
        assert await took(watch, 2) == [1, 2]


async def test_pongs_alone_keep_an_idle_watch() -> None:
    peer = WatchPeer(frames())
    async with watching(peer, ping_interval_s=0.02, silence_s=0.1) as watch:
        reading = asyncio.create_task(took(watch, 1))
        await wait_until(lambda: peer.pings >= 20, "silence passed several times")
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    assert len(peer.queries) == 1


async def test_closing_ends_an_iteration_that_waits() -> None:
    peer = WatchPeer(frames(1))
    async with watching(peer) as watch:
        await took(watch, 1)
        reading = asyncio.create_task(took(watch, 1))
        await wait_until(lambda: watch._reading_since is not None, "the watch is being read")
        await watch.close()
        with pytest.raises(StopAsyncIteration):
            await reading
        await watch.close()


async def test_what_is_no_frame_ends_the_watch() -> None:
    async def garbage(socket: web.WebSocketResponse) -> None:
        await socket.send_bytes(b"\xff\xff")

    peer = WatchPeer(garbage)
    async with watching(peer) as watch:
        with pytest.raises(errors.BadMessage, match="expected a DataFrameProto"):
            await took(watch, 1)


async def test_a_lease_that_the_pings_were_too_rare_for_makes_them_more_frequent() -> None:
    peer = WatchPeer(*[closing(CloseCode.LEASE_LOST)] * 10, frames(1))
    async with watching(peer, ping_interval_s=60) as watch:
        await took(watch, 1)
        await wait_until(lambda: peer.pings >= 3, "pings come far more often than once a minute")
