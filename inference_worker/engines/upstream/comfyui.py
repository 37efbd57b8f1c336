"""The mode `comfyui`: runs a workflow on a ComfyUI server, and returns what it made.

The first file that the workflow saves is the result; the others are artifacts.  Progress comes from
the server's WebSocket, which is opened before the workflow is sent, so that no message is missed.
"""

import asyncio
import json
import logging
import time
import uuid
from collections.abc import AsyncGenerator, Mapping
from contextlib import suppress
from pathlib import Path

import aiohttp

from inference_worker.engines.artifacts import ArtifactWriter
from inference_worker.engines.engine import (
    RESULT_TOO_BIG,
    Artifact,
    Event,
    Failed,
    Finished,
    Job,
    Progress,
)
from inference_worker.engines.upstream.options import UpstreamOptions
from inference_worker.engines.upstream.refused import (
    UPSTREAM_DOWN,
    UPSTREAM_ERROR,
    Refused,
    blames_request,
    failed_with,
)
from inference_worker.engines.upstream.request import CannotBeSent
from inference_worker.engines.upstream.workflow import (
    Ended,
    Following,
    OutputFile,
    Workflow,
    is_running,
    outputs_of,
    read_workflow,
)

#: The longest message of the server, in bytes: previews are pictures.
MAX_MESSAGE_BYTES = 32 * 1024 * 1024
#: Time between pings, in seconds; they detect a server that has vanished.
HEARTBEAT_S = 30.0
#: The longest JSON that is read: the error of a workflow, its history.
MAX_JSON_BYTES = 16 * 1024 * 1024
#: How long canceling a workflow at the server may take, in seconds.
CANCEL_S = 5.0

log = logging.getLogger(__name__)


class ComfyUIRun:
    """One workflow on the server at `base`."""

    def __init__(
        self, session: aiohttp.ClientSession, base: str, job: Job, options: UpstreamOptions
    ) -> None:
        self._session = session
        self._base = base
        self._job = job
        self._options = options
        self._ends_at = time.monotonic() + options.timeout_s
        #: The name of the connection, and of the folder of its inputs at the server.
        self._client_id = str(uuid.uuid4())
        #: The server's name of the workflow; older ones choose it themselves.
        self._prompt_id = self._client_id

    async def events(self) -> AsyncGenerator[Event, None]:
        """Run the workflow; raises CannotBeSent, and the errors of the connection."""
        if self._job.path:
            raise CannotBeSent(f"expected no sub-path for a workflow, got {self._job.path[:80]!r}")
        data = self._job.data
        if self._job.payload_path:
            data = await asyncio.to_thread(Path(self._job.payload_path).read_bytes)
        workflow = await asyncio.to_thread(read_workflow, data)
        is_sent = has_ended = False
        try:
            async with self._session.ws_connect(
                f"{self._base}/ws",
                params={"clientId": self._client_id},
                headers=self._options.send_headers,
                max_msg_size=MAX_MESSAGE_BYTES,
                heartbeat=HEARTBEAT_S,
            ) as socket:
                await self._upload(workflow)
                is_sent = True
                await self._send(workflow)
                following = Following(self._prompt_id, len(workflow.graph))
                while not has_ended:
                    match following.read(await self._next(socket)):
                        case Progress() as progress:
                            yield progress
                        case Ended(error, is_interrupted):
                            has_ended = True
                            if error:
                                raise Refused(
                                    UPSTREAM_DOWN if is_interrupted else UPSTREAM_ERROR, error
                                )
            files, rest = outputs_of(
                await self._get_json(f"/history/{self._prompt_id}"), self._prompt_id
            )
            async for event in self._results(files, json.dumps(rest).encode() if rest else b""):
                yield event
        except Refused as refused:
            yield refused.failed
        except RecursionError:
            # Those of the workflow, or of what one of its nodes has made of them.
            raise CannotBeSent("workflow: brackets nested too deep") from None
        finally:
            if is_sent:
                await self._forget(has_ended=has_ended)

    async def _upload(self, workflow: Workflow) -> None:
        for picture in workflow.pictures:
            form = aiohttp.FormData()
            form.add_field(
                "image", picture.data, filename=picture.name, content_type=picture.media_type
            )
            form.add_field("subfolder", self._client_id)
            form.add_field("type", "input")
            await self._post("/upload/image", form)

    async def _send(self, workflow: Workflow) -> None:
        sent = {
            "prompt": workflow.in_folder(self._client_id),
            "client_id": self._client_id,
            "prompt_id": self._client_id,
        }
        match json.loads(await self._post("/prompt", sent)):
            case {"prompt_id": str(prompt_id)}:
                self._prompt_id = prompt_id

    async def _next(self, socket: aiohttp.ClientWebSocketResponse) -> str:
        """Return the next text of the server; raises TimeoutError, or Refused when it has gone."""
        while True:
            message = await socket.receive(max(0.0, self._ends_at - time.monotonic()))
            if message.type is aiohttp.WSMsgType.TEXT:
                return str(message.data)
            if message.type is not aiohttp.WSMsgType.BINARY:
                raise Refused(UPSTREAM_DOWN, "the server closed the connection of the workflow")

    async def _results(
        self, files: tuple[OutputFile, ...], rest: bytes
    ) -> AsyncGenerator[Event, None]:
        added: list[Artifact] = []
        writer = ArtifactWriter(self._job, added.append, log)
        for number, file in enumerate(files[1:], 2):
            content, kind = await self._view(file)
            suffix = Path(file.filename).suffix
            name = f"{number}{suffix}" if suffix.isascii() else str(number)
            await asyncio.to_thread(writer.add, name, content, kind)
            while added:
                yield added.pop(0)
        if files:
            output, kind = await self._view(files[0])
            yield Finished(output, content_type=kind)
        else:
            yield Finished(rest, content_type="application/json" if rest else "")

    async def _view(self, file: OutputFile) -> tuple[bytes, str]:
        async with self._session.get(
            f"{self._base}/view",
            params=file.query,
            headers=self._options.send_headers,
            allow_redirects=False,
        ) as answer:
            return await self._read(answer, self._options.max_answer_bytes), answer.content_type

    async def _get_json(self, path: str) -> object:
        async with self._session.get(
            self._base + path, headers=self._options.send_headers, allow_redirects=False
        ) as answer:
            return json.loads(await self._read(answer, MAX_JSON_BYTES))

    async def _post(self, path: str, body: aiohttp.FormData | Mapping[str, object]) -> bytes:
        sent = body() if isinstance(body, aiohttp.FormData) else aiohttp.JsonPayload(body)
        async with self._session.post(
            self._base + path,
            data=sent,
            # The session of the engine adds no type itself.
            headers={**self._options.send_headers, "Content-Type": sent.content_type},
            allow_redirects=False,
        ) as answer:
            return await self._read(answer, MAX_JSON_BYTES)

    async def _read(self, answer: aiohttp.ClientResponse, most_bytes: int) -> bytes:
        body = bytearray()
        async for piece in answer.content.iter_any():
            body += piece
            if len(body) > most_bytes:
                message = f"the server's answer is longer than {most_bytes} bytes"
                raise Refused(RESULT_TOO_BIG, message, retryable=False)
        if 200 <= answer.status < 300:
            return bytes(body)
        refused = Refused(UPSTREAM_ERROR, "")
        refused.failed = _refusal(answer.status, bytes(body))
        raise refused

    async def _forget(self, *, has_ended: bool) -> None:
        """Cancel a workflow that has not ended, and have the server forget its history."""
        with suppress(aiohttp.ClientError, OSError, ValueError, Refused, TimeoutError):
            async with asyncio.timeout(CANCEL_S):
                if not has_ended:
                    await self._post("/queue", {"delete": [self._prompt_id]})
                    # Older servers ignore the id, and interrupt whatever runs.
                    if is_running(await self._get_json("/queue"), self._prompt_id):
                        await self._post("/interrupt", {"prompt_id": self._prompt_id})
                await self._post("/history", {"delete": [self._prompt_id]})


def _refusal(status: int, body: bytes) -> Failed:
    """Return the failure for a status of the server; a wrong workflow is refused with 400."""
    said = body[:300].decode(errors="replace").strip().partition("\n")[0]
    with suppress(ValueError, KeyError, TypeError, RecursionError):
        error = json.loads(body)["error"]
        said = f"{error['message']} {error.get('details') or ''}".strip()
    return failed_with(
        status, f"the server answered {status}: {said}", data=body, is_final=blames_request(status)
    )
