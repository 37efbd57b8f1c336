"""What a job can make a pipeline do: compute, and nothing else.

The library loads code, opens files and fetches addresses that it finds in its parameters and its
inputs.  Here a job tries that, on real pipelines.
"""

import asyncio
import base64
import io
import json
import os
import struct
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from inference_worker.engines.engine import Engine, Failed, Finished, Job
from inference_worker.engines.failures import BadInput
from inference_worker.engines.load import EngineSpec, load_engine
from inference_worker.engines.transformers.media import Media
from inference_worker.engines.transformers.pipeline_inputs import (
    Parts,
    most_pixels_of,
    read_inputs,
)
from inference_worker.errors import BadEngine
from tests.inference_worker.transformers.conftest import Start, TinyModel, body, end_of

Saved = dict[str, str]


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """Save a tiny model for each medium; skip where torch or Pillow are not installed."""
    for module in ("torch", "transformers", "PIL"):
        pytest.importorskip(module, reason=f"{module} is not installed")
    from tests.inference_worker.transformers import tiny_pipelines  # noqa: PLC0415

    makers = {
        "text-classification": tiny_pipelines.save_text_classifier,
        "image-classification": tiny_pipelines.save_image_classifier,
        "audio-classification": tiny_pipelines.save_sound_classifier,
    }
    folders = {}
    for task, save in makers.items():
        folder = tmp_path_factory.mktemp(task)
        save(folder)
        folders[task] = str(folder)
    return folders


class Listener:
    """A server that nobody is to ask; it counts those who do."""

    def __init__(self) -> None:
        self.asked = 0
        self._server: asyncio.Server | None = None

    async def start(self) -> str:
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/image.png"

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked += 1
        writer.close()


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    listening = Listener()
    yield listening
    await listening.stop()


def png(width: int = 20, height: int = 30) -> bytes:
    from PIL import Image  # noqa: PLC0415

    data = io.BytesIO()
    Image.new("RGB", (width, height), (200, 10, 10)).save(data, format="PNG")
    return data.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    """Return a part of a PNG file."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def data_url(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


async def end_of_bytes(engine: Engine, data: bytes, content_type: str) -> Finished | Failed:
    events = [event async for event in engine.run(Job("r", data, content_type=content_type))]
    assert isinstance(events[-1], Finished | Failed)
    return events[-1]


def refused(end: Finished | Failed) -> str:
    """Return the sentence of a job that was refused for good."""
    assert isinstance(end, Failed), end
    assert (end.code, end.retryable) == ("BadInput", False), end
    return end.message


# --- Parameters


async def test_a_job_cannot_name_code_that_generates(
    llama: TinyModel, start: Start, tmp_path: Path
) -> None:
    marker = tmp_path / "ran"
    repository = tmp_path / "repository"
    (repository / "custom_generate").mkdir(parents=True)
    code = f"open({str(marker)!r}, 'w').close()\ndef generate(model, **others): return None\n"
    (repository / "custom_generate" / "generate.py").write_text(code)
    engine = await start(f"pipeline:text-generation:{llama.folder}")
    harm = {"custom_generate": str(repository), "trust_remote_code": True}
    for parameters in (harm, {"tokenizer_encode_kwargs": harm}, {"max_new_tokens": 2, **harm}):
        sentence = refused(await end_of(engine, body(inputs="x", parameters=parameters)))
        assert "custom_generate: a job may not set this; it may set: " in sentence
    assert "max_length" in sentence
    assert not marker.exists()


#: What no job may say of a generation: names that are not listed, and values of the wrong kind.
HARMFUL: list[dict[str, Any]] = [
    {"trust_remote_code": True},
    {"generation_config": {"max_new_tokens": 1}},
    {"generation_config": "/etc"},
    {"assistant_model": "/etc"},
    {"device": "cpu"},
    {"model_kwargs": {}},
    {"generate_kwargs": {"max_new_tokens": 1}},
    {"stopping_criteria": []},
    {"streamer": "x"},
    {"cache_implementation": "offloaded"},
    {"chat_template": "{{ 1 }}"},
    {"tokenizer_encode_kwargs": {"return_tensors": "np"}},
    {"synonym_ids": "/etc/hostname"},
    {"batch_size": 9},
    {"num_workers": 4},
    {"penalty_alpha": 0.6},
    {"dola_layers": "low"},
    {"max_new_tokens": "5"},
    {"max_new_tokens": True},
    {"max_new_tokens": 10**9},
    {"max_new_tokens": [1]},
    {"temperature": {"a": 1}},
    {"eos_token_id": 512},
    {"pad_token_id": -1},
    {"num_beams": 10**6},
    {"padding": "max_length", "max_length": 10**9},
    {"do_sample": "yes"},
    {"stop_sequence": {"a": 1}},
]


async def test_a_job_sets_only_what_is_listed(llama: TinyModel, start: Start) -> None:
    engine = await start(f"pipeline:text-generation:{llama.folder}")
    for parameters in HARMFUL:
        sentence = refused(await end_of(engine, body(inputs="x", parameters=parameters)))
        assert sentence.startswith("parameters.")
        assert any(name in sentence for name in parameters)


async def test_what_is_listed_reaches_the_library(llama: TinyModel, start: Start) -> None:
    engine = await start(f"pipeline:text-generation:{llama.folder}")
    wanted: list[dict[str, Any]] = [
        {"max_new_tokens": 3, "do_sample": False, "return_full_text": False},
        {"max_new_tokens": 3, "temperature": 1, "do_sample": True, "top_p": 0.5, "top_k": 5},
        {"max_new_tokens": 3, "num_beams": 2, "num_return_sequences": 2, "stop_sequence": ["q"]},
        {"max_new_tokens": 3, "tokenizer_encode_kwargs": {"truncation": True}},
        {"max_new_tokens": 3, "eos_token_id": [1, 2], "bad_words_ids": [[4]], "prefix": "p"},
    ]
    for parameters in wanted:
        end = await end_of(engine, body(inputs="x", parameters=parameters))
        assert isinstance(end, Finished), (parameters, end)
    chat = [{"role": "user", "content": "hello"}]
    end = await end_of(engine, body(inputs=chat, parameters={"max_new_tokens": 2}))
    assert isinstance(end, Finished), end
    assert json.loads(end.output)[0]["generated_text"][-1]["role"] == "assistant"


@pytest.mark.parametrize(
    "parameters",
    [{"temperature": 1e-44}, {"suppress_tokens": list(range(512))}],
    ids=["temperature", "nothing left"],
)
async def test_numbers_that_overflow_in_the_model_are_the_jobs_fault(
    llama: TinyModel, start: Start, parameters: dict[str, Any]
) -> None:
    # As failures of the engine, three such jobs would restart it for all.
    engine = await start(f"pipeline:text-generation:{llama.folder}")
    told = {"do_sample": True, "max_new_tokens": 2, **parameters}
    assert "no token to sample" in refused(await end_of(engine, body(inputs="x", parameters=told)))


@pytest.mark.parametrize("stops", [["a"] * 5, ["a" * 65], "a" * 65, [], [""]])
async def test_stop_strings_that_take_minutes_to_prepare_are_refused(
    llama: TinyModel, start: Start, stops: object
) -> None:
    engine = await start(f"pipeline:text-generation:{llama.folder}")
    asked = body(inputs="x", parameters={"stop_sequence": stops})
    assert "stop_sequence" in refused(await end_of(engine, asked))


def test_a_task_that_nobody_has_read_is_refused() -> None:
    with pytest.raises(BadEngine, match="text-generation"):
        load_engine(EngineSpec("pipeline:custom-task:somebody/model"))


async def test_a_text_is_no_set_of_parameters(saved: Saved, start: Start) -> None:
    engine = await start(f"pipeline:text-classification:{saved['text-classification']}")
    for inputs in ("a", ["a", "b"], {"text": "a", "text_pair": "b"}):
        end = await end_of(engine, body(inputs=inputs, parameters={"top_k": 2}))
        assert isinstance(end, Finished), end
    for harm in ({"text": "a", "padding": "max_length", "max_length": 10**9}, {"text": ["a"]}):
        assert "inputs" in refused(await end_of(engine, body(inputs=harm)))


async def test_a_text_over_the_models_context_is_refused(saved: Saved, start: Start) -> None:
    engine = await start(f"pipeline:text-classification:{saved['text-classification']}")
    sentence = refused(await end_of(engine, body(inputs="0" * 65)))
    assert "at most 64 tokens, got 65" in sentence
    cut = await end_of(engine, body(inputs="0" * 65, parameters={"truncation": True}))
    assert isinstance(cut, Finished), cut


async def test_an_answer_ends_where_the_models_context_does(llama: TinyModel, start: Start) -> None:
    engine = await start(f"pipeline:text-generation:{llama.folder}")
    told = {"return_full_text": False, "return_tensors": None, "max_new_tokens": 2048}
    chat = [{"role": "user", "content": "0" * 2020}]
    for inputs in ("0" * 2045, chat):
        end = await end_of(engine, body(inputs=inputs, parameters=told))
        assert isinstance(end, Finished), end
    for too_long in ("0" * 2048, [{"role": "user", "content": "0" * 2048}]):
        assert "at most 2047 tokens" in refused(await end_of(engine, body(inputs=too_long)))
    long_prefix = {"prefix": "0" * 2048}
    assert "tokens" in refused(await end_of(engine, body(inputs="0", parameters=long_prefix)))


async def test_an_answer_is_the_same_in_whatever_company(saved: Saved, start: Start) -> None:
    engine = await start(
        f"pipeline:text-classification:{saved['text-classification']}", max_batch=4
    )
    alone = await end_of(engine, b"a text")
    together = await asyncio.gather(*(end_of(engine, b"a text") for _ in range(9)))
    assert isinstance(alone, Finished)
    label = json.loads(alone.output)[0]["label"]
    for end in together:
        assert isinstance(end, Finished), end
        assert [one["label"] for one in json.loads(end.output)] == [label]


# --- Files and addresses


async def test_a_job_cannot_name_an_image(
    saved: Saved, start: Start, listener: Listener, tmp_path: Path
) -> None:
    address = await listener.start()
    path = tmp_path / "secret.png"
    path.write_bytes(png())
    engine = await start(f"pipeline:image-classification:{saved['image-classification']}")
    places = [
        str(path),
        address,
        path.as_uri(),
        "data:image/png," + address,
    ]
    for place in places:
        for inputs in (place, [place], [data_url(png()), place], {"url": place}, {"path": place}):
            assert "inputs" in refused(await end_of(engine, body(inputs=inputs)))
        refused(await end_of(engine, place.encode()))
        images = {"images": place}
        sentence = refused(await end_of(engine, body(inputs=data_url(png()), parameters=images)))
        assert "images" in sentence
    assert listener.asked == 0


async def test_an_image_comes_as_bytes_or_as_a_data_url(saved: Saved, start: Start) -> None:
    engine = await start(f"pipeline:image-classification:{saved['image-classification']}")
    alone = [
        await end_of_bytes(engine, png(), "image/png"),
        await end_of_bytes(engine, png(), "application/octet-stream"),
        await end_of(engine, body(inputs=data_url(png()))),
        await end_of(engine, data_url(png()).encode()),
    ]
    for end in alone:
        assert isinstance(end, Finished), end
        assert end.output == getattr(alone[0], "output", None)
    two = await end_of(engine, body(inputs=[data_url(png())] * 2, parameters={"top_k": 1}))
    assert isinstance(two, Finished), two
    assert len(json.loads(two.output)) == 2


async def test_a_large_picture_in_few_bytes_is_refused(saved: Saved, start: Start) -> None:
    engine = await start(f"pipeline:image-classification:{saved['image-classification']}")
    # The head says 100,000 by 100,000, and nothing of it may be decoded to find out.
    head = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(99)))
    assert "pixels" in refused(await end_of_bytes(engine, bomb, "image/png"))
    many = [data_url(png(4000, 4000))] * 5
    assert "pixels" in refused(await end_of(engine, body(inputs=many)))


@pytest.mark.parametrize(("width", "height"), [(100_000, 1), (1, 100_000)])
async def test_a_row_of_pixels_is_refused(
    saved: Saved, start: Start, width: int, height: int
) -> None:
    # Some models enlarge the shorter side, to hundreds of pixels, and the longer one with it.
    engine = await start(f"pipeline:image-classification:{saved['image-classification']}")
    row = png(width, height)
    assert "100 times" in refused(await end_of_bytes(engine, row, "image/png"))
    assert isinstance(await end_of_bytes(engine, png(100, 1), "image/png"), Finished)


@pytest.mark.parametrize("task", ["image-segmentation", "depth-estimation", "mask-generation"])
def test_what_is_computed_for_each_pixel_takes_fewer_of_them(task: str) -> None:
    pytest.importorskip("PIL")
    media = Media(most_pixels=most_pixels_of(task))
    assert read_inputs(task, data_url(png(1000, 1000)), Parts(media, 16_000))
    with pytest.raises(BadInput, match="`max_pixels` allows more"):
        read_inputs(task, data_url(png(2000, 2000)), Parts(media, 16_000))
    assert most_pixels_of("image-classification") > most_pixels_of(task)


async def test_the_operator_bounds_the_pixels_of_a_job(saved: Saved, start: Start) -> None:
    name = f"pipeline:image-classification:{saved['image-classification']}"
    engine = await start(name, max_pixels=500)
    assert "at most 500 pixels" in refused(await end_of_bytes(engine, png(), "image/png"))


async def test_what_is_no_image_is_refused(saved: Saved, start: Start) -> None:
    engine = await start(f"pipeline:image-classification:{saved['image-classification']}")
    # The first would be a program for Ghostscript.
    program = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) run\n"
    wrong = {program: "PNG, JPEG", b"": "empty", b"/etc/passwd": "PNG, JPEG"}
    wrong[png()[:60]] = "cannot be read"
    for data, sentence in wrong.items():
        assert sentence in refused(await end_of(engine, body(inputs=data_url(data))))
    broken = data_url(png()).replace("base64,", "base64,*")
    assert "no base64" in refused(await end_of(engine, body(inputs=broken)))


async def test_a_job_cannot_name_a_sound(
    saved: Saved, start: Start, listener: Listener, tmp_path: Path
) -> None:
    address = await listener.start()
    engine = await start(f"pipeline:audio-classification:{saved['audio-classification']}")
    numbers = {"raw": [0.0, 0.5] * 800, "sampling_rate": 16_000}
    end = await end_of(engine, body(inputs=numbers, parameters={"top_k": 1}))
    assert isinstance(end, Finished), end
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{address}\n".encode()
    for place in ("/etc/hostname", address, data_url(playlist, "audio/mpeg")):
        for inputs in (place, [place], {**numbers, "path": place}, {**numbers, "raw": place}):
            assert "inputs" in refused(await end_of(engine, body(inputs=inputs)))
    for content_type in ("audio/mpeg", "application/octet-stream"):
        sentence = refused(await end_of_bytes(engine, playlist, content_type))
        assert "expected a sound" in sentence
    assert listener.asked == 0


async def test_ffmpeg_gets_the_format_and_a_limit(
    saved: Saved, start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tmp_path / "told"
    program = tmp_path / "ffmpeg"
    program.write_text(f'#!/bin/sh\necho "$@" > {told}\ncat > /dev/null\nhead -c 6400 /dev/zero\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    engine = await start(f"pipeline:audio-classification:{saved['audio-classification']}")
    end = await end_of_bytes(engine, b"RIFF....WAVEfmt ", "audio/wav")
    assert isinstance(end, Finished), end
    short = await start(
        f"pipeline:audio-classification:{saved['audio-classification']}", max_sound_s=0.05
    )
    sentence = refused(await end_of_bytes(short, b"RIFF....WAVEfmt ", "audio/wav"))
    assert "at most 0.05 s" in sentence
    assert "-protocol_whitelist pipe -f wav -i pipe:0" in told.read_text()
    assert " -t " in told.read_text()
