"""Tiny models on disk, and engines that run them in this process."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from inference_worker.engines.engine import Context, Delta, Engine, Event, Failed, Finished
from inference_worker.engines.load import EngineSpec, load_engine
from inference_worker.engines.transformers.engine import TransformersEngine
from tests.inference_worker.events import events_of

#: The token that makes the poisoned model answer with what is no number.
POISON = 7


@dataclass(frozen=True, slots=True)
class TinyModel:
    """A model on disk and in memory."""

    folder: str
    model: Any


def _needs_torch() -> None:
    for module in ("torch", "transformers"):
        pytest.importorskip(module, reason=f"{module} is not installed (extra `transformers`)")


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> TinyModel:
    """Make a Llama of random weights; skip where torch is not installed."""
    _needs_torch()
    from tests.inference_worker.transformers.tiny_model import save_random_llama  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("llama")
    return TinyModel(str(folder), save_random_llama(folder))


@pytest.fixture(scope="session")
def poisoned_llama(tmp_path_factory: pytest.TempPathFactory) -> TinyModel:
    """Make one that answers a prompt with the token POISON with NaN."""
    _needs_torch()
    from tests.inference_worker.transformers.tiny_model import save_random_llama  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("poisoned")
    return TinyModel(str(folder), save_random_llama(folder, poison=POISON))


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> TinyModel:
    """Make a Bert of random weights; skip where torch is not installed."""
    _needs_torch()
    from tests.inference_worker.transformers.tiny_model import save_random_bert  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("bert")
    return TinyModel(str(folder), save_random_bert(folder))


@pytest.fixture(scope="session")
def demo_model() -> str:
    """Return the folder of the demo's model, which knows the FAQ by heart."""
    _needs_torch()
    return str(Path(__file__).parents[3] / "deploy" / "demo" / "model")


Start = Callable[..., Awaitable[Any]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Start an engine by its name in this process, and stop it after the test."""
    started: list[Engine] = []

    async def run(name: str, *, capacity: int | None = None, **options: object) -> Engine:
        wanted: dict[str, object] = {"torch_threads": 1, "device": "cpu", **options}
        if name.startswith("transformers:"):
            wanted.setdefault("max_tokens_in_batch", 8192)
        engine = load_engine(EngineSpec(name, wanted, capacity))
        await engine.start(Context())
        started.append(engine)
        return engine

    yield run
    for engine in started:
        await engine.stop(5.0)


def body(**fields: object) -> bytes:
    return json.dumps(fields).encode()


async def end_of(engine: Engine, data: bytes) -> Finished | Failed:
    end = (await events_of(engine, data))[-1]
    assert isinstance(end, Finished | Failed)
    return end


async def answer_of(engine: Engine, **fields: object) -> dict[str, Any]:
    """Return the answer of one job as an object."""
    end = await end_of(engine, body(**fields))
    assert isinstance(end, Finished), end
    answer: dict[str, Any] = json.loads(end.output)
    return answer


async def answers_of(engine: Engine, wanted: list[dict[str, object]]) -> list[dict[str, Any]]:
    """Return the answers of jobs that run at the same time."""
    return list(await asyncio.gather(*(answer_of(engine, **fields) for fields in wanted)))


def shown(events: list[Event]) -> str:
    """Return what a client that follows has seen."""
    return b"".join(event.data for event in events if isinstance(event, Delta)).decode()


async def generating(engine: TransformersEngine) -> int:
    return int((await engine.health()).details["generating"])
