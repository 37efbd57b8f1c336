"""Results that are files: pictures, sounds, paths; and values that become JSON."""

import io
import json
import wave
from pathlib import Path

import pytest
from PIL import Image

from client_sdk.wire import names
from client_sdk.wire.worker import Completion, Delivery, Result
from inference_worker.answers import answer_to
from inference_worker.engines.engine import Failed, Finished
from tests.inference_worker.written_handlers import load

IMPORTS = """\
import dataclasses, datetime, enum, pathlib, uuid
import numpy
from PIL import Image
from pydantic import BaseModel
from penstock.worker import Audio, File

class Box(BaseModel):
    width: int
    pictures: list = []

@dataclasses.dataclass
class Point:
    x: float

class Color(enum.Enum):
    RED = "red"
"""
DELIVERY = Delivery(1, 1, "job-1", b"x")


async def end_of(folder: Path, returned: str, signature: str = "predict(x)") -> Finished | Failed:
    handler = await load(
        folder, "handler", "predict", f"{IMPORTS}\ndef {signature}:\n  {returned}\n"
    )
    end = await handler.end(b"x")
    await handler.engine.stop(1.0)
    return end


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "CMYK", "F"])
async def test_a_picture_becomes_a_png(tmp_path: Path, mode: str) -> None:
    end = await end_of(tmp_path, f"return Image.new({mode!r}, (3, 4))")
    assert isinstance(end, Finished)
    assert end.content_type == "image/png"
    with Image.open(io.BytesIO(end.output)) as image:
        assert (image.format, image.size) == ("PNG", (3, 4))


@pytest.mark.parametrize(
    ("samples", "channels", "frames"),
    [
        ("numpy.zeros(80, numpy.float32)", 1, 80),
        ("numpy.zeros((2, 80))", 2, 80),
        ("numpy.full((80, 2), 9.0)", 2, 80),
        ("numpy.zeros(80, numpy.int16)", 1, 80),
        ("numpy.full(8, float('nan'))", 1, 8),
    ],
)
async def test_a_sound_becomes_a_wav(
    tmp_path: Path, samples: str, channels: int, frames: int
) -> None:
    end = await end_of(tmp_path, f"return Audio({samples}, 8000)")
    assert isinstance(end, Finished)
    assert end.content_type == "audio/wav"
    with wave.open(io.BytesIO(end.output)) as sound:
        assert (sound.getnchannels(), sound.getnframes()) == (channels, frames)
        assert (sound.getframerate(), sound.getsampwidth()) == (8000, 2)


async def test_a_file_has_its_own_type(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_bytes(b"<b>")
    assert await end_of(tmp_path, "return File(b'x', 'image/webp')") == Finished(
        b"x", content_type="image/webp"
    )
    end = await end_of(tmp_path, f"return pathlib.Path({str(tmp_path / 'page.html')!r})")
    # The engine's process reads it, or leaves it where it is.
    assert end == Finished(b"", path=str(tmp_path / "page.html"))


@pytest.mark.parametrize("signature", ["predict(x: str)", "predict(x) -> list | dict | Box"])
@pytest.mark.parametrize(
    ("returned", "value"),
    [
        ("return Box(width=3)", {"width": 3, "pictures": []}),
        ("return [Point(1.0), Color.RED]", [{"x": 1.0}, "red"]),
        ("return {'at': datetime.date(2030, 1, 31)}", {"at": "2030-01-31"}),
        ("return {'a': {1}}", {"a": [1]}),
        ("return [File(b'x', 'image/webp')]", ["data:image/webp;base64,eA=="]),
        ("return {'n': numpy.float32(0.5)}", {"n": 0.5}),
        ("yield {'a': {1}}", [{"a": [1]}]),
    ],
)
async def test_everything_else_becomes_json(
    tmp_path: Path, returned: str, value: object, signature: str
) -> None:
    end = await end_of(tmp_path, returned, signature)
    assert isinstance(end, Finished), end
    assert json.loads(end.output) == value
    assert end.content_type == ""


@pytest.mark.parametrize(
    ("returned", "kind"),
    [
        ("return Box(width=3)", "Box"),
        ("return [Point(1.0)]", "Point"),
        ("return {'at': datetime.date(2030, 1, 31)}", "date"),
        ("return {'a': {1}}", "set"),
        ("return [pathlib.Path('/etc/hostname')]", "PosixPath"),
        ("yield {1}", "set"),
    ],
)
async def test_without_annotations_only_arrays_become_json(
    tmp_path: Path, returned: str, kind: str
) -> None:
    end = await end_of(tmp_path, returned)
    assert isinstance(end, Failed)
    assert end.message == f"TypeError: Object of type {kind} is not JSON serializable"
    arrays = await end_of(tmp_path, "return {'n': numpy.float32(0.5)}")
    assert arrays == Finished(b'{"n": 0.5}')


def test_the_answer_names_the_type() -> None:
    answer = answer_to(DELIVERY, Finished(b"x", content_type="image/png"))
    assert isinstance(answer, Completion)
    assert answer.result == Result(b"x", {names.CONTENT_TYPE_TAG: "image/png"})
