"""Services that are no chat: what OpenAI's clients get there, and how to become one."""

import os
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.conftest import StartService, StartWorker
from tests.inference_worker.conftest import HANDLERS
from tests.inference_worker.transformers.conftest import TinyModel, bert, llama
from tests.running import TOKEN, QueueServiceProcess
from tests.waiting import wait_until

__all__ = ["bert", "llama"]

DOCUMENT = Path(__file__).parents[4] / "docs" / "openai.md"
Wish = tuple[str, dict[str, Any]]
CHAT: Wish = ("chat/completions", {"messages": [{"role": "user", "content": "draw a bird"}]})
TEXT: Wish = ("completions", {"prompt": "hello"})
VECTORS: Wish = ("embeddings", {"input": "hello"})


async def _ask(
    service: QueueServiceProcess, model: str, wish: Wish, **more: object
) -> tuple[int, dict[str, object]]:
    path, body = wish
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as session,
        session.post(f"{service.url}/v1/{path}", json={"model": model, **body, **more}) as answer,
    ):
        return answer.status, await answer.json()


def _sentence(answer: tuple[int, dict[str, object]], status: int, kind: str) -> str:
    """Check that it is an error of OpenAI's form, and return what it says."""
    came, body = answer
    assert came == status, body
    error = body["error"]
    assert isinstance(error, dict)
    assert error["type"] == kind
    return str(error["message"])


@pytest.mark.timeout(120)
async def test_text_and_vectors_are_each_refused_by_a_service_of_the_other(
    start_service: StartService, start_worker: StartWorker, llama: TinyModel, bert: TinyModel
) -> None:
    service = await start_service({"name": "writes"}, {"name": "embeds"})
    options = {"torch_threads": 1, "device": "cpu"}
    for name, engine in (
        ("writes", f"transformers:{llama.folder}"),
        ("embeds", f"embeddings:{bert.folder}"),
    ):
        await start_worker(service.url, name, engine=engine, engine_options=options)
    refused = await _ask(service, "writes", VECTORS)
    told = _sentence(refused, 400, "invalid_request_error")
    assert told.startswith("this service writes text and makes no embeddings")
    for wish, more in ((CHAT, {}), (CHAT, {"stream": True}), (TEXT, {})):
        refused = await _ask(service, "embeds", wish, **more)
        told = _sentence(refused, 400, "invalid_request_error")
        assert told == (
            f"this service makes embeddings and no text: expected /v1/embeddings, got /v1/{wish[0]}"
        )
    assert (await _ask(service, "writes", TEXT, max_tokens=2))[0] == 200
    assert (await _ask(service, "embeds", VECTORS))[0] == 200


async def test_a_handler_that_makes_no_vectors_is_said_to_make_none(
    start_service: StartService, start_worker: StartWorker
) -> None:
    service = await start_service({"name": "upper"})
    worker = await start_worker(service.url, "upper", engine=f"{HANDLERS}:Upper")
    told = _sentence(await _ask(service, "upper", VECTORS), 502, "server_error")
    assert told.startswith("upper makes no embeddings: expected from its engine")

    # A handler that takes text is given all of a chat, and its worker says so, once.
    for _ in range(2):
        assert (await _ask(service, "upper", CHAT))[0] == 200
    said = "Upper takes text, but was called through the OpenAI API or the chat page"
    await wait_until(lambda: said in worker.log, "the worker says it")
    assert worker.log.count(said) == 1


async def test_the_documents_handler_is_a_chat(
    start_service: StartService,
    start_worker: StartWorker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    (example,) = [
        part.partition("```")[0]
        for part in text.split("```python\n")[1:]
        if part.startswith("from collections.abc import Iterator")
    ]
    (tmp_path / "backwards.py").write_text(example)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{Path.cwd()}")
    service = await start_service({"name": "backwards"})
    await start_worker(service.url, "backwards", engine="handler:backwards:predict")
    status, body = await _ask(service, "backwards", CHAT)
    assert status == 200, body
    choices = body["choices"]
    assert isinstance(choices, list)
    assert choices[0]["message"]["content"] == "ward a drib "
