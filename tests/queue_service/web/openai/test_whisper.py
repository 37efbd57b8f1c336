"""Transcriptions and translations by OpenAI's client, of a pipeline with a Whisper."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy
import openai
import pytest

from inference_worker.engines.wave_sound import read_wave, write_wave
from tests.conftest import StartService, StartWorker
from tests.running import TOKEN, QueueServiceProcess

for module in ("torch", "transformers"):
    pytest.importorskip(module, reason="the extra `transformers` is not installed")

# OpenAI has deprecated its own translations; the client warns.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.leaves_entries,
    pytest.mark.timeout(240),
]
TASK = "automatic-speech-recognition"
RATE = 16_000


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.inference_worker.transformers.tiny_pipelines import (  # noqa: PLC0415
        save_multilingual_whisper,
    )

    folder = tmp_path_factory.mktemp("whisper")
    save_multilingual_whisper(folder)
    return folder


@pytest.fixture
async def service(
    start_service: StartService, start_worker: StartWorker, tmp_path: Path, model: Path
) -> QueueServiceProcess:
    service = await start_service(files_dir=str(tmp_path / "kept"), files_reserve_mb=0)
    await start_worker(service.url, engine=f"pipeline:{TASK}:{model}")
    return service


@pytest.fixture
async def client(service: QueueServiceProcess) -> AsyncIterator[Any]:
    async with openai.AsyncOpenAI(
        base_url=f"{service.url}/v1", api_key=TOKEN, max_retries=0, timeout=120
    ) as opened:
        yield opened


def sound() -> bytes:
    return write_wave(numpy.sin(numpy.arange(RATE, dtype=numpy.float32)), RATE)


def heard(model: Path, **generation: str) -> str:
    """What transformers itself makes of the sound."""
    from transformers import pipeline  # noqa: PLC0415

    read = read_wave(sound())
    assert read is not None
    said: Any = pipeline(TASK, model=str(model))(read[1], generate_kwargs=generation)
    return str(said["text"])


async def test_language_and_task_reach_the_model(client: Any, model: Path) -> None:
    file = ("a.wav", sound())
    english, german = (heard(model, language=one, task="transcribe") for one in ("en", "de"))
    translated = heard(model, language="de", task="translate")
    assert len({english, german, translated}) == 3
    create = client.audio.transcriptions.create
    assert (await create(model="svc", file=file, language="en")).text == english
    assert (await create(model="svc", file=file, language="de")).text == german
    text = await create(model="svc", file=file, language="de", response_format="text")
    assert text.strip() == german
    translate = client.audio.translations.create
    # Its client has no argument for the language of the sound.
    said = await translate(model="svc", file=file, extra_body={"language": "de"})
    assert said.text == translated


async def test_transcriptions_and_translations_have_times(client: Any) -> None:
    file = ("a.wav", sound())
    for path in (client.audio.transcriptions, client.audio.translations):
        said = await path.create(model="svc", file=file, response_format="verbose_json")
        assert said.segments
        assert said.segments[0].start <= said.segments[0].end
        srt = await path.create(model="svc", file=file, response_format="srt")
        assert srt.startswith("1\n00:00:0")


async def test_what_it_cannot_do_is_named(client: Any) -> None:
    create = client.audio.transcriptions.create
    file = ("a.wav", sound())
    with pytest.raises(openai.BadRequestError, match="xx"):
        await create(model="svc", file=file, language="xx")
    with pytest.raises(openai.BadRequestError, match="expected a sound"):
        await client.audio.translations.create(model="svc", file=("a.wav", b"no sound"))
    with pytest.raises(openai.BadRequestError, match="segment"):
        await create(
            model="svc",
            file=file,
            response_format="verbose_json",
            timestamp_granularities=["word"],
        )
