"""A server like vLLM for tests: it answers with what a test has written down."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Json = dict[str, Any]

#: What every chunk of a vLLM has.
HEAD: Json = {
    "id": "chatcmpl-vllm-1",
    "object": "chat.completion.chunk",
    "created": 1_764_000_000,
    "model": "served-model",
    "system_fingerprint": "fp_1",
}


def chunk(delta: Json, *, index: int = 0, **more: Any) -> Json:
    """Return a chunk with every field that vLLM writes."""
    choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": None, **more}
    return {**HEAD, "choices": [choice]}


@dataclass
class StubServer:
    """Streams `chunks` to those who ask for a stream, and answers others with `whole`.

    holds_after: wait for `may_go_on` after this many chunks.  breaks_off: end the connection after
    the last one.
    """

    chunks: list[Json | str] = field(default_factory=list)
    whole: Json = field(default_factory=dict)
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    breaks_off: bool = False
    may_go_on: asyncio.Event = field(default_factory=asyncio.Event)
    holds_after: int | None = None
    received: list[Json] = field(default_factory=list)
    canceled: asyncio.Event = field(default_factory=asyncio.Event)
    url: str = ""
    _runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Serve on a free port."""
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/v1/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Stop serving."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        self.received.append(asked)
        if self.status != 200 or not asked.get("stream"):
            return web.json_response(self.whole, status=self.status, headers=self.headers)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        # A test may change what the next request gets.
        chunks, breaks_off, holds_after = self.chunks, self.breaks_off, self.holds_after
        try:
            for number, one in enumerate([*chunks, "[DONE]"]):
                if number == holds_after:
                    await self.may_go_on.wait()
                if number == len(chunks) and breaks_off:
                    assert request.transport is not None
                    request.transport.abort()
                    break
                data = one if isinstance(one, str) else json.dumps(one)
                await response.write(f"data: {data}\n\n".encode())
        except asyncio.CancelledError:
            self.canceled.set()
            raise
        return response
