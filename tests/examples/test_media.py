"""examples/media and examples/video_to_frames: with models that are built on the spot."""

import base64
import io
import json
import wave
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import numpy
import openai
import pytest
from PIL import Image

from inference_worker.engines.wave_sound import write_wave
from tests.conftest import StartService, StartWorker
from tests.running import TOKEN, QueueServiceProcess
from tests.waiting import wait_until

for module in ("torch", "transformers"):
    pytest.importorskip(module, reason="the extra `transformers` is not installed")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("diffusers", reason="the extra `diffusers` is not installed")
    from examples.media.tiny_models import save_all  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("tiny")
    save_all(folder)
    return folder


@pytest.fixture
async def service(start_service: StartService, tmp_path: Path) -> QueueServiceProcess:
    return await start_service(files_dir=str(tmp_path / "kept"), files_reserve_mb=0)


@pytest.fixture
async def client(service: QueueServiceProcess) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=f"{service.url}/v1", api_key=TOKEN, max_retries=0, timeout=120
    ) as opened:
        yield opened


async def answer(
    service: QueueServiceProcess, data: Any, content_type: str = "text/plain"
) -> tuple[int, str, bytes]:
    """Return the status, the type and the body of a job's result."""
    url = f"{service.url}/v1/services/svc/jobs?wait=60s"
    headers = {"Authorization": TOKEN}
    if content_type:
        headers["Content-Type"] = content_type
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(url, data=data) as answered,
    ):
        return answered.status, answered.content_type, await answered.read()


async def _knows_fields(service: QueueServiceProcess) -> None:
    async def has_schema() -> bool:
        headers = {"Authorization": TOKEN}
        url = f"{service.url}/v1/services/svc/schema"
        async with aiohttp.ClientSession(headers=headers) as session, session.get(url) as known:
            return known.status == 200 and bool((await known.json())["accepted"])

    await wait_until(has_schema, "the service knows the fields of the form")


def png() -> bytes:
    written = io.BytesIO()
    Image.new("RGB", (20, 10), "red").save(written, "PNG")
    return written.getvalue()


def sound(samples: int = 16_000) -> bytes:
    noise = numpy.sin(numpy.arange(samples, dtype=numpy.float32))
    return write_wave(noise, 16_000)


@pytest.mark.leaves_entries
async def test_a_picture_is_classified(
    service: QueueServiceProcess, start_worker: StartWorker, models: Path
) -> None:
    folder = models / "image-classification"
    await start_worker(service.url, engine=f"pipeline:image-classification:{folder}")
    status, kind, body = await answer(service, png(), "image/png")
    assert (status, kind) == (200, "application/json")
    assert {one["label"] for one in json.loads(body)} == {"cat", "dog"}
    url = f"data:image/png;base64,{base64.b64encode(png()).decode()}"
    same = await answer(service, json.dumps({"inputs": url}), "application/json")
    assert same == (status, kind, body)
    for bad in ("/etc/hostname", "http://127.0.0.1:1/x.png", "file:///etc/hostname"):
        status, _, body = await answer(service, json.dumps({"inputs": bad}), "application/json")
        assert (status, json.loads(body)["reason"]) == (409, "BadInput")


@pytest.mark.leaves_entries
async def test_a_text_becomes_a_picture(
    service: QueueServiceProcess,
    client: openai.AsyncOpenAI,
    start_worker: StartWorker,
    models: Path,
) -> None:
    folder = models / "text-to-image"
    await start_worker(service.url, engine=f"pipeline:text-to-image:{folder}")
    asked = {"inputs": "a house", "parameters": {"num_inference_steps": 2, "seed": 3}}
    first = await answer(service, json.dumps(asked), "application/json")
    assert first[:2] == (200, "image/png")
    assert Image.open(io.BytesIO(first[2])).size == (32, 32)
    assert await answer(service, json.dumps(asked), "application/json") == first
    made = await client.images.generate(
        model="svc",
        prompt="a house",
        size="40x24",
        n=2,
        extra_body={"num_inference_steps": 2, "seed": 1},
    )
    assert made.data is not None
    pictures = [Image.open(io.BytesIO(base64.b64decode(one.b64_json or ""))) for one in made.data]
    assert [one.size for one in pictures] == [(40, 24)] * 2
    for more, said in (
        ({"quality": "high"}, "quality: expected none"),
        ({"size": "41x24"}, "multiple of 8"),
        ({"size": "big"}, "WIDTHxHEIGHT"),
        ({"size": "16384x16384"}, "at most 16777216 pixels"),
    ):
        with pytest.raises(openai.BadRequestError, match=said):
            await client.images.generate(model="svc", prompt="a", **more)  # type: ignore[call-overload]
    for bad in (
        {"inputs": {"prompt": "a", "image": "/etc/hostname"}},
        {"inputs": "a", "parameters": {"callback_on_step_end": "x"}},
        {"inputs": "a", "parameters": {"num_inference_steps": 0}},
        {"inputs": ["a"]},
    ):
        status, _, body = await answer(service, json.dumps(bad), "application/json")
        assert (status, json.loads(body)["reason"]) == (409, "BadInput"), bad
    with pytest.raises(openai.BadRequestError, match="expected /v1/images/generations"):
        await client.audio.speech.create(model="svc", voice="default", input="a")


@pytest.mark.leaves_entries
async def test_a_sound_becomes_text(
    service: QueueServiceProcess,
    client: openai.AsyncOpenAI,
    start_worker: StartWorker,
    models: Path,
) -> None:
    folder = models / "automatic-speech-recognition"
    await start_worker(service.url, engine=f"pipeline:automatic-speech-recognition:{folder}")
    status, kind, body = await answer(service, sound(), "audio/wav")
    assert (status, kind) == (200, "application/json")
    text = json.loads(body)["text"]
    heard = await client.audio.transcriptions.create(model="svc", file=("a.wav", sound()))
    assert heard.text == text
    create: Any = client.audio.transcriptions.create
    srt = await create(model="svc", file=("a.wav", sound()), response_format="srt")
    assert srt.startswith("1\n00:00:00,000 --> ")
    for more, said in (
        ({"language": "de"}, "language: expected none"),
        ({"prompt": "x"}, "prompt: expected none"),
        ({"response_format": "verbose_json", "timestamp_granularities": ["word"]}, "segment"),
    ):
        with pytest.raises(openai.BadRequestError, match=said):
            await create(model="svc", file=("a.wav", sound()), **more)
    with pytest.raises(openai.BadRequestError, match="expected a sound"):
        await create(model="svc", file=("a.wav", b"no sound"))


@pytest.mark.leaves_entries
async def test_a_text_becomes_a_sound(
    service: QueueServiceProcess,
    client: openai.AsyncOpenAI,
    start_worker: StartWorker,
    models: Path,
) -> None:
    folder = models / "text-to-speech"
    await start_worker(service.url, engine=f"pipeline:text-to-speech:{folder}")
    status, kind, body = await answer(service, "hello")
    assert (status, kind) == (200, "audio/wav")
    with wave.open(io.BytesIO(body)) as file:
        assert (file.getframerate(), file.getnchannels()) == (16_000, 1)
        assert file.getnframes()
    create: Any = client.audio.speech.create
    said = await create(model="svc", voice="default", input="hello", response_format="wav")
    assert said.content[:4] == b"RIFF"
    plain = await create(model="svc", voice="default", input="hello", response_format="pcm")
    assert plain.response.headers["content-type"] == "audio/pcm; rate=16000; channels=1"
    for more, sentence in (
        ({"voice": "alloy"}, "voice: expected default"),
        ({"response_format": "mp3"}, "wav or pcm"),
        ({"speed": 2}, "speed: expected none"),
    ):
        with pytest.raises(openai.BadRequestError, match=sentence):
            await create(**{"model": "svc", "voice": "default", "input": "hello", **more})


@pytest.mark.leaves_entries
async def test_a_photo_becomes_a_poster(
    service: QueueServiceProcess, start_worker: StartWorker
) -> None:
    await start_worker(service.url, engine="handler:examples.poster.poster:Poster")
    await _knows_fields(service)
    photo = io.BytesIO()
    Image.linear_gradient("L").resize((60, 40)).convert("RGB").save(photo, "JPEG")
    for style in ("flat", "outlined", "ink"):
        form = aiohttp.FormData()
        form.add_field("photo", photo.getvalue(), filename="photo.jpg", content_type="image/jpeg")
        form.add_field("colours", "3")
        form.add_field("style", style)
        status, kind, body = await answer(service, form, "")
        assert (status, kind) == (200, "image/png"), body
        poster = Image.open(io.BytesIO(body))
        assert poster.size == (60, 40)
        if style == "flat":
            assert len(poster.getcolors() or []) <= 3
    status, _, body = await answer(service, json.dumps({"photo": "cat.jpg"}), "application/json")
    assert (status, json.loads(body)["errors"][0]["path"]) == (422, "/photo")


@pytest.mark.leaves_entries
async def test_a_video_is_taken_apart(
    service: QueueServiceProcess, start_worker: StartWorker
) -> None:
    av = pytest.importorskip("av", reason="PyAV is not installed")
    film = io.BytesIO()
    with av.open(film, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 32, 16, "yuv420p"
        for number in range(10):
            picture = Image.new("RGB", (32, 16), (number * 20, 0, 0))
            container.mux(stream.encode(av.VideoFrame.from_image(picture)))
        container.mux(stream.encode(None))
    await start_worker(service.url, engine="handler:examples.video_to_frames.frames:Frames")
    await _knows_fields(service)
    form = aiohttp.FormData()
    form.add_field("video", film.getvalue(), filename="film.mp4", content_type="video/mp4")
    form.add_field("every", "4")
    status, _, body = await answer(service, form, "")
    assert status == 200, body
    frames = json.loads(body)["frames"]
    assert [one["at_s"] for one in frames] == [0.0, 0.4, 0.8]
    _, _, encoded = frames[2]["image"].partition(",")
    assert Image.open(io.BytesIO(base64.b64decode(encoded))).size == (32, 16)
    playlist = aiohttp.FormData()
    playlist.add_field("video", b"#EXTM3U\nfile:///etc/hostname\n", filename="film.mp4")
    status, _, body = await answer(service, playlist, "")
    assert (status, json.loads(body)["reason"]) == (409, "BadInput")
