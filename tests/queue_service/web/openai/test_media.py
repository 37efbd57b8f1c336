"""Pictures and sounds by OpenAI's own client, unchanged, from handlers."""

import asyncio
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
from tests.queue_service.web.openai.media_server import MediaServer
from tests.running import TOKEN, QueueServiceProcess
from tests.waiting import wait_until

# OpenAI has deprecated its own translations; the client warns.
pytestmark = pytest.mark.filterwarnings("ignore:deprecated:DeprecationWarning")

HANDLERS = "handler:tests.queue_service.web.openai.media_handlers"
SERVICES: tuple[dict[str, object], ...] = tuple(
    {"name": name, "token": TOKEN} for name in ("painter", "scribe", "teller", "ears", "speaker")
)


def png(colour: tuple[int, ...], size: tuple[int, int] = (8, 8)) -> bytes:
    written = io.BytesIO()
    Image.new("RGBA", size, colour).save(written, "PNG")
    return written.getvalue()


def sound(samples: int) -> bytes:
    return write_wave(numpy.zeros(samples, numpy.float32), 16_000)


def picture(b64: str | None) -> Image.Image:
    assert b64 is not None
    return Image.open(io.BytesIO(base64.b64decode(b64)))


@pytest.fixture
async def service(start_service: StartService, tmp_path: Path) -> QueueServiceProcess:
    return await start_service(*SERVICES, files_dir=str(tmp_path / "kept"), files_reserve_mb=0)


@pytest.fixture
async def client(service: QueueServiceProcess) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(
        base_url=f"{service.url}/v1", api_key=TOKEN, max_retries=0, timeout=120
    ) as opened:
        yield opened


async def test_pictures_are_made_and_edited(
    service: QueueServiceProcess, client: openai.AsyncOpenAI, start_worker: StartWorker
) -> None:
    await start_worker(service.url, "painter", engine=f"{HANDLERS}:Painter")
    made = await client.images.generate(model="painter", prompt="red", n=2, size="16x24")
    assert made.data is not None
    assert made.created > 0
    assert [picture(one.b64_json).size for one in made.data] == [(16, 24)] * 2
    assert picture(made.data[0].b64_json).convert("RGB").getpixel((3, 3)) == (255, 0, 0)

    linked = await client.images.generate(model="painter", prompt="green", response_format="url")
    assert linked.data is not None
    assert linked.data[0].url is not None
    assert linked.data[0].url.startswith(f"{service.url}/v1/files/file_")
    (file,) = (await client.files.list()).data
    async with aiohttp.ClientSession() as session:
        async with session.get(linked.data[0].url) as refused:
            assert refused.status == 401
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with session.get(linked.data[0].url, headers=headers) as got:
            assert got.content_type == "image/png"
            assert Image.open(io.BytesIO(await got.read())).size == (8, 8)
    assert linked.data[0].url.endswith(f"/{file.id}/content")
    await client.files.delete(file.id)

    mask = Image.new("RGBA", (8, 8), (0, 0, 0, 255))
    mask.putpixel((1, 1), (0, 0, 0, 0))
    written = io.BytesIO()
    mask.save(written, "PNG")
    for pictures in (png((0, 0, 255, 255)), [png((0, 0, 255, 255)), png((9, 9, 9, 9))]):
        edited = await client.images.edit(
            model="painter",
            image=pictures,
            mask=("mask.png", written.getvalue()),
            prompt="red",
            extra_body={"steps": 3},
        )
        assert edited.data is not None
        found = picture(edited.data[0].b64_json).convert("RGB")
        assert (found.getpixel((0, 0)), found.getpixel((1, 1))) == ((0, 0, 255), (255, 0, 0))

    stream = await client.images.generate(model="painter", prompt="red", stream=True)
    events = [event async for event in stream]
    assert [event.type for event in events] == ["image_generation.completed"]
    assert picture(events[0].b64_json).size == (8, 8)


async def test_what_a_handler_does_not_know_is_refused_and_names_the_parameter(
    service: QueueServiceProcess, client: openai.AsyncOpenAI, start_worker: StartWorker
) -> None:
    await start_worker(service.url, "painter", engine=f"{HANDLERS}:Painter")
    await start_worker(service.url, "speaker", engine=f"{HANDLERS}:Speaker")
    ask: Any = client.images.generate
    # 422 of the service, or 400 of the worker while the service does not know its schema yet.
    with pytest.raises(openai.APIStatusError, match="no such input") as refused:
        await ask(model="painter", prompt="red", style="vivid")
    assert refused.value.status_code in (400, 422)
    assert refused.value.param == "/style"
    with pytest.raises(openai.BadRequestError, match="one of red, green, got blue") as bad:
        await ask(model="painter", prompt="blue")
    assert bad.value.param == "prompt"
    # Values that change nothing are no parameters that are ignored.
    await ask(model="painter", prompt="red", quality="auto", background="auto", user="me")
    for more in ({"n": 11}, {"response_format": "jpeg"}, {"stream": 3}, {"prompt": ""}):
        with pytest.raises(openai.BadRequestError) as wrong:
            await ask(**{"model": "painter", "prompt": "red", **more})
        assert wrong.value.param == next(iter(more))
    with pytest.raises(openai.BadRequestError, match="model: expected"):
        await ask(model="", prompt="red")
    with pytest.raises(openai.NotFoundError) as none:
        await ask(model="paintre", prompt="red")
    assert none.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError, match="/voice") as odd:
        await client.audio.speech.create(model="speaker", voice="nobody", input="hello")
    assert odd.value.param
    with pytest.raises(openai.BadRequestError, match=r"wav or pcm.*got 'mp3'") as format_:
        await client.audio.speech.create(
            model="speaker", voice="low", input="hello", response_format="mp3"
        )
    assert format_.value.param == "response_format"
    with pytest.raises(openai.BadRequestError) as edit:
        await client.images.edit(
            model="painter", image=png((1, 1, 1, 1)), prompt="red", quality="low"
        )
    assert "/quality: there is no such input" in edit.value.message


async def test_sounds_become_text_in_each_format(
    service: QueueServiceProcess, client: openai.AsyncOpenAI, start_worker: StartWorker
) -> None:
    await start_worker(service.url, "scribe", engine=f"{HANDLERS}:Scribe")
    create: Any = client.audio.transcriptions.create
    data = sound(100)
    asked = {"model": "scribe", "file": ("a.wav", data), "language": "de", "temperature": 0.5}
    text = f"v1/audio/transcriptions .wav {len(data)} de 0.5"
    assert (await create(**asked)).text == text
    assert (await create(**asked, response_format="text")).strip() == text
    srt = await create(**asked, response_format="srt")
    assert srt == (
        "1\n00:00:00,000 --> 00:00:01,250\none\n\n2\n01:01:01,500 --> 01:01:02,000\ntwo\n"
    )
    vtt = await create(**asked, response_format="vtt")
    assert vtt.startswith("WEBVTT\n\n00:00:00.000 --> 00:00:01.250\none\n")
    verbose = await create(
        **asked, response_format="verbose_json", timestamp_granularities=["segment"]
    )
    assert (verbose.duration, verbose.language, verbose.segments[1].text) == (3662, "en", " two")
    translated = await client.audio.translations.create(model="scribe", file=("b.flac", data))
    assert translated.text == f"v1/audio/translations .flac {len(data)}  0"
    # Large uploads go through a file.
    large = sound(400_000)
    assert (await create(**{**asked, "file": ("c.wav", large)})).text == text.replace(
        str(len(data)), str(len(large))
    )


async def test_a_file_before_the_model_is_taken_and_a_foreign_token_is_not(
    service: QueueServiceProcess, start_worker: StartWorker, tmp_path: Path
) -> None:
    await start_worker(service.url, "scribe", engine=f"{HANDLERS}:Scribe")
    url = f"{service.url}/v1/audio/transcriptions"
    large = sound(400_000)

    def form(*models: str) -> aiohttp.FormData:
        made = aiohttp.FormData()
        made.add_field("file", large, filename="x.wav", content_type="audio/wav")
        for model in models:
            made.add_field("model", model)
        return made

    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as session:
        async with session.post(url, data=form("scribe")) as answer:
            assert str(len(large)) in (await answer.json())["text"]
        for models, status in (((), 400), (("nobody",), 404), (("scribe", "scribe"), 400)):
            async with session.post(url, data=form(*models)) as refused:
                assert refused.status == status, await refused.text()
                assert (await refused.json())["error"]["message"]
        for body in (
            b"--x\r\n",
            b"no form",
            b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n',
        ):
            headers = {"Content-Type": "multipart/form-data; boundary=x"}
            async with session.post(url, data=body, headers=headers) as broken:
                assert broken.status == 400, await broken.text()
        async with session.post(
            url, data=b"x", headers={"Content-Type": "multipart/form-data"}
        ) as unbounded:
            assert unbounded.status == 400
    kept = tmp_path / "kept"
    await wait_until(
        lambda: not [one for one in kept.rglob("*") if one.is_file()], "no content is left"
    )


async def test_text_comes_in_pieces(
    service: QueueServiceProcess, client: openai.AsyncOpenAI, start_worker: StartWorker
) -> None:
    await start_worker(service.url, "teller", engine=f"{HANDLERS}:Teller")
    await start_worker(service.url, "ears", engine=f"{HANDLERS}:hear")
    stream = await client.audio.transcriptions.create(
        model="teller", file=("a.wav", sound(10)), stream=True
    )
    events: list[Any] = [event async for event in stream]
    deltas = [event.delta for event in events if event.type == "transcript.text.delta"]
    assert "".join(deltas) == "one two three"
    assert (events[-1].type, events[-1].text) == ("transcript.text.done", "one two three")
    heard = await client.audio.transcriptions.create(model="ears", file=("a.wav", sound(123)))
    assert heard.text == "123 samples"
    with pytest.raises(openai.BadRequestError, match="/language: there is no such input"):
        await client.audio.transcriptions.create(
            model="ears", file=("a.wav", sound(123)), language="de"
        )
    with pytest.raises(openai.BadRequestError, match="gives no times") as untimed:
        await client.audio.transcriptions.create(
            model="ears", file=("a.wav", sound(123)), response_format="srt"
        )
    assert untimed.value.code == "unsupported_format"


async def test_text_becomes_a_sound(
    service: QueueServiceProcess, client: openai.AsyncOpenAI, start_worker: StartWorker
) -> None:
    await start_worker(service.url, "speaker", engine=f"{HANDLERS}:Speaker")
    create: Any = client.audio.speech.create
    said = await create(model="speaker", voice="low", input="hello", response_format="wav")
    with wave.open(io.BytesIO(said.content)) as file:
        assert (file.getframerate(), file.getnframes()) == (16_000, 50)
    plain = await create(
        model="speaker", voice="high", input="hello", response_format="pcm", speed=2
    )
    assert len(plain.content) == 2 * 25
    assert plain.response.headers["content-type"] == "audio/pcm; rate=16000; channels=1"
    assert (await create(model="speaker", voice="low", input="mp3")).content == b"ID3 sound"
    with pytest.raises(openai.BadRequestError, match="expected mp3"):
        await create(model="speaker", voice="low", input="mp3", response_format="wav")
    # Longer than what Redis holds.
    long = await create(model="speaker", voice="low", input="x" * 9000, response_format="wav")
    assert len(long.content) == 44 + 2 * 90_000


async def test_disconnecting_cancels_the_job(
    service: QueueServiceProcess,
    client: openai.AsyncOpenAI,
    start_worker: StartWorker,
    tmp_path: Path,
) -> None:
    await start_worker(service.url, "scribe", engine=f"{HANDLERS}:Scribe")
    asking = asyncio.create_task(
        client.audio.transcriptions.create(
            model="scribe", file=("a.wav", sound(10)), prompt="stuck", language=str(tmp_path)
        )
    )
    await wait_until((tmp_path / "began").exists, "the handler runs")
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    await wait_until((tmp_path / "cancelled").exists, "the handler was cancelled")


@pytest.fixture
async def stub() -> AsyncIterator[MediaServer]:
    server = MediaServer()
    await server.start()
    yield server
    await server.stop()


async def test_a_server_gets_the_body_as_it_came_and_its_answer_passes_through(
    stub: MediaServer,
    service: QueueServiceProcess,
    client: openai.AsyncOpenAI,
    start_worker: StartWorker,
) -> None:
    await start_worker(service.url, "scribe", engine=f"http:{stub.url}", sick_after=0)
    kind = "multipart/form-data; boundary=the-one"
    for filler in (b"x" * 10, b"\r\n--the-on" * 50_000):
        part = b'--the-one\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'
        body = part % (b"file", b'; filename="a.wav"', filler)
        body += (
            part % (b"model", b"", b"scribe")
            + part % (b"odd[key]", b"", b"\xff")
            + b"--the-one--\r\n"
        )
        headers = {"Content-Type": kind, "Authorization": f"Bearer {TOKEN}"}
        stub.body = b'{"text": "hi", "logprobs": [1]}'
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.post(f"{service.url}/v1/audio/transcriptions", data=body) as answer,
        ):
            assert await answer.read() == stub.body
        assert stub.received.pop() == ("/v1/audio/transcriptions", kind, body)
        renamed = body.replace(b"\r\nscribe\r\n", b"\r\nscribe/whisper\r\n")
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.post(f"{service.url}/v1/audio/transcriptions", data=renamed) as answer,
        ):
            assert await answer.read() == stub.body
        expected = body.replace(b"\r\nscribe\r\n", b"\r\nwhisper\r\n")
        assert stub.received.pop() == ("/v1/audio/transcriptions", kind, expected)

    stub.body, stub.content_type = b"\x00mp3", "audio/mpeg"
    said = await client.audio.speech.create(model="scribe", voice="x", input="hi")
    assert said.content == stub.body
    path, content_type, sent = stub.received.pop()
    assert (path, content_type) == ("/v1/audio/speech", "application/json")
    assert json.loads(sent) == {"model": "scribe", "voice": "x", "input": "hi"}
    stub.body, stub.content_type = (
        b'{"created": 1, "data": [{"url": "http://x/y"}]}',
        "application/json",
    )
    made = await client.images.generate(model="scribe/sd", prompt="a cat", n=3)
    assert made.data is not None
    assert made.data[0].url == "http://x/y"
    assert json.loads(stub.received.pop()[2])["model"] == "sd"
    events = [{"type": "transcript.text.delta", "delta": word} for word in ("a", "b", "c")]
    events.append({"type": "transcript.text.done", "text": "abc"})
    stub.body = b"".join(b"data: %s\n\n" % json.dumps(one).encode() for one in events)
    stub.content_type = "text/event-stream"
    stream = await client.audio.transcriptions.create(
        model="scribe", file=("a.wav", b"x"), stream=True
    )
    assert [one.model_dump(exclude_unset=True) async for one in stream] == events
    stub.status, stub.content_type = 400, "application/json"
    stub.body = b'{"error": {"message": "no such voice", "param": "voice", "code": "bad_voice"}}'
    with pytest.raises(openai.BadRequestError, match="no such voice") as refused:
        await client.audio.speech.create(model="scribe", voice="x", input="hi")
    assert (refused.value.param, refused.value.code) == ("voice", "bad_voice")


async def test_other_engines_refuse_media(
    service: QueueServiceProcess, client: openai.AsyncOpenAI, start_worker: StartWorker
) -> None:
    await start_worker(service.url, "scribe", engine="echo")
    with pytest.raises(openai.InternalServerError, match="scribe makes no pictures"):
        await client.images.generate(model="scribe", prompt="a cat")
    with pytest.raises(openai.InternalServerError, match="scribe makes no sound"):
        await client.audio.speech.create(model="scribe", voice="x", input="hi")


async def test_the_painter_of_the_documents(
    service: QueueServiceProcess,
    client: openai.AsyncOpenAI,
    start_worker: StartWorker,
    tmp_path: Path,
) -> None:
    page = (Path(__file__).parents[4] / "docs" / "openai.md").read_text(encoding="utf-8")
    parts = [part.partition("```")[0] for part in page.split("```python\n")[1:]]
    (text,) = [part for part in parts if part.startswith("from PIL import Image")]
    (tmp_path / "painter.py").write_text(text, encoding="utf-8")
    await start_worker(service.url, "painter", engine=f"handler:{tmp_path / 'painter.py'}:Painter")
    made = await client.images.generate(model="painter", prompt="a", size="8x16", n=2)
    assert made.data is not None
    assert [picture(one.b64_json).size for one in made.data] == [(8, 16)] * 2
    edited = await client.images.edit(model="painter", prompt="a", image=png((1, 2, 3, 4), (3, 3)))
    assert edited.data is not None
    assert picture(edited.data[0].b64_json).size == (3, 3)
