"""A server of OpenAI's media APIs for tests: it keeps what it gets, byte for byte."""

from dataclasses import dataclass, field

from aiohttp import web


@dataclass
class MediaServer:
    """Answers every request with `body`, `status` and `content_type`."""

    body: bytes = b"{}"
    status: int = 200
    content_type: str = "application/json"
    received: list[tuple[str, str, bytes]] = field(default_factory=list)
    url: str = ""
    _runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Serve on a free port."""
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Stop serving."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        content_type = request.headers.get("Content-Type", "")
        self.received.append((request.path, content_type, await request.read()))
        headers = {"Content-Type": self.content_type}
        return web.Response(body=self.body, status=self.status, headers=headers)
