"""The other end of a worker's connection, played by the test: it speaks the wire and no more.

For what a real queue service does only by accident of timing: hand an entry out twice, refuse
an answer, lose a claim.
"""

import asyncio
from collections.abc import Iterable

import aiohttp
from aiohttp import web

from client_sdk.wire import names
from client_sdk.wire.events import Event, Events
from client_sdk.wire.worker import (
    Completion,
    Completions,
    Deliveries,
    Delivery,
    Held,
    Hello,
    Leave,
    Outcome,
    Outcomes,
    Rejection,
    Rejections,
    Renew,
    SetWindow,
    Stops,
    Welcome,
    decode_from_worker,
    encode_to_worker,
)

Answer = Completion | Rejection


class Peer:
    """Takes worker connections, notes what comes, and hands out what the test says.

    accept: whether answers get their outcome by themselves.
    contents: what workers fetch, by id; after `cut_after` bytes the connection breaks.
    uploads: what they have uploaded, by id.  refuse_files: statuses of the next requests for files.
    inline_bytes: results above this are uploaded; 0 means none.
    lease_ms: long, because a worker that hears nothing for a lease reconnects, and a busy machine
    gives neither side a turn for a second at times.
    """

    def __init__(self, *, lease_ms: int = 30_000) -> None:
        self.url = ""
        self.lease_ms = lease_ms
        self.accept = True
        self.hellos: list[Hello] = []
        self.answers: list[Answer] = []
        self.events: list[Event] = []
        self.windows: list[int] = []
        self.renewals = 0
        self.asked_to_leave = 0
        self.understands_leave = True
        self.lost: tuple[Held, ...] = ()
        self.contents: dict[str, bytes] = {}
        self.cut_after: int | None = None
        self.uploads: dict[str, bytes] = {}
        self.upload_types: list[str] = []
        self.refuse_files: list[int] = []
        self.fetches: list[str] = []
        self.uploads_begun = 0
        self.file_gate = asyncio.Event()
        self.file_gate.set()
        self.inline_bytes = 0
        self._socket: web.WebSocketResponse | None = None
        self._transport: asyncio.WriteTransport | None = None
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application(client_max_size=2**30)
        app.router.add_get(names.WORK_PATH, self._work)
        app.router.add_get(f"{names.WORK_FILES_PATH}/{{id}}/content", self._content)
        app.router.add_post(names.WORK_FILES_PATH, self._upload)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"

    async def stop(self) -> None:
        await self.cut()
        if self._runner is not None:
            await self._runner.cleanup()

    @property
    def connected(self) -> bool:
        return self._socket is not None

    @property
    def completions(self) -> list[Completion]:
        return [answer for answer in self.answers if isinstance(answer, Completion)]

    @property
    def rejections(self) -> list[Rejection]:
        return [answer for answer in self.answers if isinstance(answer, Rejection)]

    async def deliver(self, *deliveries: Delivery) -> None:
        assert self._socket is not None, "no worker is connected"
        await self._socket.send_bytes(encode_to_worker(Deliveries(deliveries)))

    async def outcome(self, answers: Iterable[Answer], *, code: str = "") -> None:
        """Say what became of these answers; a code says that they were refused."""
        assert self._socket is not None, "no worker is connected"
        outcomes = tuple(Outcome(a.index, a.attempt, not code, code) for a in answers)
        await self._socket.send_bytes(encode_to_worker(Outcomes(outcomes)))

    async def cancel(self, *held: Held) -> None:
        assert self._socket is not None, "no worker is connected"
        await self._socket.send_bytes(encode_to_worker(Stops(held)))

    async def leave(self) -> None:
        assert self._socket is not None, "no worker is connected"
        await self._socket.send_bytes(encode_to_worker(Leave()))

    async def cut(self) -> None:
        """Close the connection without a word, as a network does."""
        self._socket = None
        if self._transport is not None:
            self._transport.abort()

    async def _work(self, request: web.Request) -> web.WebSocketResponse:
        # Its pings are what tells the worker that the other side is there.
        socket = web.WebSocketResponse(heartbeat=self.lease_ms / 3000)
        await socket.prepare(request)
        hello = decode_from_worker(await socket.receive_bytes())
        assert isinstance(hello, Hello)
        self.hellos.append(hello)
        name = request.match_info["service"]
        welcome = Welcome(
            name,
            self.lease_ms,
            self.lost,
            leaves=self.understands_leave,
            inline_bytes=self.inline_bytes,
        )
        await socket.send_bytes(encode_to_worker(welcome))
        self._socket, self._transport = socket, request.transport
        try:
            async for message in socket:
                if message.type is aiohttp.WSMsgType.BINARY:
                    await self._take(message.data)
        finally:
            if self._socket is socket:
                self._socket = None
        return socket

    async def _content(self, request: web.Request) -> web.StreamResponse:
        self.fetches.append(request.headers.get("Range", ""))
        await self.file_gate.wait()
        if self.refuse_files:
            return web.Response(status=self.refuse_files.pop(0))
        content = self.contents.get(request.match_info["id"])
        if content is None:
            return web.Response(status=404)
        start = int(self.fetches[-1].removeprefix("bytes=").removesuffix("-") or 0)
        size = len(content)
        headers = {"Content-Length": str(size - start), "ETag": '"e"'}
        if start:
            headers["Content-Range"] = f"bytes {start}-{size - 1}/{size}"
        response = web.StreamResponse(status=206 if start else 200, headers=headers)
        await response.prepare(request)
        end = size if self.cut_after is None else start + self.cut_after
        await response.write(content[start:end])
        if end < size:
            assert request.transport is not None
            request.transport.close()
        return response

    async def _upload(self, request: web.Request) -> web.StreamResponse:
        self.uploads_begun += 1
        content = await request.read()
        if self.refuse_files:
            status = self.refuse_files.pop(0)
            headers = {names.ERROR_CODE_HEADER: "FILES_FULL"} if status == 507 else {}
            return web.Response(status=status, headers=headers)
        file_id = f"payload_{len(self.uploads)}"
        await self.file_gate.wait()
        self.uploads[file_id] = content
        self.upload_types.append(request.content_type)
        return web.json_response({"id": file_id}, status=201)

    async def _take(self, data: bytes) -> None:
        answers: tuple[Answer, ...] = ()
        match decode_from_worker(data):
            case Completions(completions):
                answers = completions
            case Rejections(rejections):
                answers = rejections
            case Events(events):
                self.events.extend(events)
            case SetWindow(window):
                self.windows.append(window)
            case Leave():
                self.asked_to_leave += 1
            case Renew():
                self.renewals += 1
                # The heartbeat above keeps silent as long as something comes, and renewals do.
                if self._socket is not None:
                    await self._socket.ping()
        self.answers.extend(answers)
        if answers and self.accept:
            await self.outcome(answers)
