"""A service with a folder for files, OpenAI's client, and batches of lines."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
from openai import AsyncOpenAI
from openai.types import Batch

from tests.conftest import StartService, StartWorker
from tests.running import ADMIN_TOKEN, TOKEN, QueueServiceProcess
from tests.waiting import wait_until

OBEDIENT = "handler:tests.queue_service.web.batches.handlers:Obedient"
PATIENT = "handler:tests.queue_service.web.batches.handlers:Patient"
CHAT: Final = "/v1/chat/completions"


def line(custom_id: str, text: str, **more: Any) -> dict[str, Any]:
    """One line of a batch of chats."""
    body = {"model": "svc", "messages": [{"role": "user", "content": text}], **more}
    return {"custom_id": custom_id, "method": "POST", "url": CHAT, "body": body}


def lines(count: int) -> list[dict[str, Any]]:
    return [line(f"line-{number}", f"text {number}") for number in range(count)]


@dataclass
class Batches:
    """The Batch API of one service, through OpenAI's client."""

    client: AsyncOpenAI
    url: str
    token: str

    async def upload(self, wanted: list[Any]) -> str:
        content = "".join(
            (one if isinstance(one, str) else json.dumps(one)) + "\n" for one in wanted
        )
        made = await self.client.files.create(
            file=("lines.jsonl", content.encode()), purpose="batch"
        )
        return made.id

    async def submit(self, wanted: list[Any], *, window: Any = "24h", **more: Any) -> Batch:
        return await self.client.batches.create(
            input_file_id=await self.upload(wanted),
            endpoint=CHAT,
            completion_window=window,
            **more,
        )

    async def status(self, batch: Batch) -> str:
        return (await self.client.batches.retrieve(batch.id)).status

    async def end(self, batch: Batch, timeout_s: float = 60.0) -> Batch:
        """Wait for the end of a batch."""

        async def ended() -> Batch | None:
            now = await self.client.batches.retrieve(batch.id)
            return now if now.status in ("completed", "failed", "expired", "cancelled") else None

        found = await wait_until(ended, f"{batch.id} has ended", timeout_s)
        assert found is not None
        return found

    async def read(self, file_id: str | None) -> list[dict[str, Any]]:
        """The lines of an output or error file; none without one."""
        if file_id is None:
            return []
        text = (await self.client.files.content(file_id)).text
        return [json.loads(one) for one in text.splitlines()]

    async def results(self, batch: Batch) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """The lines that were answered, and those that were not."""
        return await self.read(batch.output_file_id), await self.read(batch.error_file_id)

    async def ask(self, method: str, path: str, *, token: str = "", **more: Any) -> tuple[int, Any]:
        """Ask without the client."""
        headers = {"Authorization": f"Bearer {token or self.token}"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.request(method, f"{self.url}/v1/batches{path}", **more) as answer,
        ):
            is_json = answer.content_type == "application/json"
            return answer.status, await answer.json() if is_json else await answer.text()

    async def chat(self, body: dict[str, Any]) -> tuple[int, Any]:
        """Ask for what a line asks for."""
        headers = {"Authorization": f"Bearer {self.token}"}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.post(f"{self.url}{CHAT}", json=body) as answer,
        ):
            return answer.status, await answer.json()

    async def delete_files(self) -> None:
        async for file in self.client.files.list(limit=1000):
            await self.client.files.delete(file.id)

    async def admin(self, method: str, path: str, **more: Any) -> None:
        """Do what an operator does."""
        headers = {"Authorization": ADMIN_TOKEN}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.request(method, self.url + path, **more) as answer,
        ):
            assert answer.status < 300, await answer.text()

    async def make_token(self, *scopes: str, **more: Any) -> str:
        wish = {"scopes": list(scopes or ("submit", "read")), **more}
        headers = {"Authorization": ADMIN_TOKEN}
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.post(f"{self.url}/v1/tokens", json=wish) as answer,
        ):
            made = await answer.json()
            assert answer.status == 201, made
            return str(made["token"])


@asynccontextmanager
async def batches_of(url: str, token: str = TOKEN) -> AsyncIterator[Batches]:
    async with AsyncOpenAI(
        base_url=f"{url}/v1", api_key=token, max_retries=8, timeout=120
    ) as client:
        yield Batches(client, url, token)


def stored(files_dir: Path) -> list[str]:
    """Every file of the folder."""
    return sorted(path.name for path in files_dir.rglob("*") if path.is_file())


def names(found: list[dict[str, Any]]) -> list[str]:
    return sorted(one["custom_id"] for one in found)


@pytest.fixture
def files_dir(tmp_path: Path) -> Path:
    return tmp_path / "files"


@pytest.fixture
async def service(start_service: StartService, files_dir: Path) -> QueueServiceProcess:
    """Run a queue service that keeps files."""
    return await start_service(files_dir=str(files_dir), files_reserve_mb=0)


@pytest.fixture
async def batches(service: QueueServiceProcess) -> AsyncIterator[Batches]:
    async with batches_of(service.url) as found:
        yield found
        await found.delete_files()


@pytest.fixture
async def worker(service: QueueServiceProcess, start_worker: StartWorker) -> None:
    """Run a worker that answers with the question."""
    await start_worker(service.url, engine="echo")


@pytest.fixture
async def obedient_worker(service: QueueServiceProcess, start_worker: StartWorker) -> None:
    """Run a worker that does what the lines say; see handlers.py."""
    await start_worker(service.url, engine=OBEDIENT)


@pytest.fixture
async def patient_worker(service: QueueServiceProcess, start_worker: StartWorker) -> None:
    """Run a worker that does what the lines say, many at once and in any order."""
    await start_worker(service.url, engine=PATIENT)
