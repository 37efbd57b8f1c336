"""A stand-in for ComfyUI: its queue, its WebSocket and its files, as far as a client sees them."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

PICTURE = b"\x89PNG a picture"


@dataclass
class ComfyUI:
    """Runs each workflow node by node.

    A node `Wait` runs until it is interrupted; `Break` fails; `SaveImage` and `PreviewImage` make a
    picture; `ShowText` a text.  chooses_ids: as older versions do, ends without a success.
    moved_to: where it sends those that want a file.
    """

    chooses_ids: bool = False
    moved_to: str = ""
    url: str = ""
    prompts: dict[str, dict[str, Any]] = field(default_factory=dict)
    inputs: dict[str, bytes] = field(default_factory=dict)
    history: dict[str, Any] = field(default_factory=dict)
    forgotten: list[str] = field(default_factory=list)
    pending: list[str] = field(default_factory=list)
    running: str = ""
    interrupts: int = 0
    sockets: dict[str, web.WebSocketResponse] = field(default_factory=dict)
    _interrupted: asyncio.Event = field(default_factory=asyncio.Event)
    _one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application(client_max_size=2**26)
        app.router.add_get("/ws", self._ws)
        app.router.add_post("/prompt", self._prompt)
        app.router.add_post("/upload/image", self._upload)
        app.router.add_get("/history/{id}", self._history)
        app.router.add_post("/history", self._delete_history)
        app.router.add_get("/queue", self._queue)
        app.router.add_post("/queue", self._delete_queued)
        app.router.add_post("/interrupt", self._interrupt)
        app.router.add_get("/view", self._view)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"

    async def stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._runner is not None:
            await self._runner.cleanup()

    async def hang_up(self) -> None:
        for socket in list(self.sockets.values()):
            await socket.close()

    async def _ws(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.sockets[request.query["clientId"]] = socket
        await socket.send_str('{"type": "status", "data": {"status": {}}}')
        async for _ in socket:
            pass
        return socket

    async def _prompt(self, request: web.Request) -> web.Response:
        asked = await request.json()
        prompt_id = f"own-{len(self.prompts)}" if self.chooses_ids else asked["prompt_id"]
        if any(node["class_type"] == "Unknown" for node in asked["prompt"].values()):
            error = {"type": "invalid_prompt", "message": "Cannot execute", "details": "node 1"}
            return web.json_response({"error": error, "node_errors": {}}, status=400)
        self.prompts[prompt_id] = asked["prompt"]
        self.pending.append(prompt_id)
        task = asyncio.create_task(self._run(prompt_id, asked["client_id"]))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return web.json_response({"prompt_id": prompt_id, "number": 1, "node_errors": {}})

    async def _run(self, prompt_id: str, client_id: str) -> None:
        async def say(kind: str, **data: object) -> None:
            data["prompt_id"] = prompt_id
            await self.sockets[client_id].send_str(json.dumps({"type": kind, "data": data}))

        async with self._one_at_a_time:
            if prompt_id not in self.pending:
                return
            self.pending.remove(prompt_id)
            self.running = prompt_id
            self._interrupted.clear()
            outputs: dict[str, Any] = {}
            try:
                await say("execution_start")
                for node_id, node in self.prompts[prompt_id].items():
                    await say("executing", node=node_id)
                    await say("progress", node=node_id, value=1, max=2)
                    await self.sockets[client_id].send_bytes(b"\x00\x00\x00\x01 a preview")
                    match node["class_type"]:
                        case "Wait":
                            await self._interrupted.wait()
                            await say("execution_interrupted", node_id=node_id)
                            return
                        case "Break":
                            what = "CUDA out of memory"
                            await say("execution_error", node_type="Break", exception_message=what)
                            return
                        case "SaveImage" | "PreviewImage" as kind:
                            kind = "output" if kind == "SaveImage" else "temp"
                            name = f"{node['inputs'].get('name', node_id)}.png"
                            file = {"filename": name, "subfolder": "s", "type": kind}
                            outputs[node_id] = {"images": [file]}
                        case "ShowText":
                            outputs[node_id] = {"text": [node["inputs"]["text"]]}
                self.history[prompt_id] = {"outputs": outputs, "status": {"completed": True}}
                if self.chooses_ids:
                    await say("executing", node=None)
                else:
                    await say("execution_success")
            finally:
                self.running = ""

    async def _upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        image = form["image"]
        assert isinstance(image, web.FileField)
        name = f"{form['subfolder']!s}/{image.filename}"
        self.inputs[name] = image.file.read()
        return web.json_response({"name": name})

    async def _history(self, request: web.Request) -> web.Response:
        prompt_id = request.match_info["id"]
        found = self.history.get(prompt_id)
        return web.json_response({prompt_id: found} if found else {})

    async def _delete_history(self, request: web.Request) -> web.Response:
        self.forgotten += (await request.json())["delete"]
        return web.Response()

    async def _queue(self, _: web.Request) -> web.Response:
        running = [[0, self.running, {}, {}, []]] if self.running else []
        pending = [[1, one, {}, {}, []] for one in self.pending]
        return web.json_response({"queue_running": running, "queue_pending": pending})

    async def _delete_queued(self, request: web.Request) -> web.Response:
        for prompt_id in (await request.json())["delete"]:
            if prompt_id in self.pending:
                self.pending.remove(prompt_id)
        return web.Response()

    async def _interrupt(self, _: web.Request) -> web.Response:
        self.interrupts += 1
        self._interrupted.set()
        return web.Response()

    async def _view(self, request: web.Request) -> web.Response:
        if self.moved_to:
            raise web.HTTPFound(self.moved_to)
        assert request.query["subfolder"] == "s"
        body = PICTURE + request.query["filename"].encode()
        return web.Response(body=body, content_type="image/png")
