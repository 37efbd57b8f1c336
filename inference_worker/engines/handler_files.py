"""Files and sounds of handlers, and the content of results that are files."""

import base64
import io
import mimetypes
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic_core import core_schema

from inference_worker.engines.wave_sound import write_wave

#: The sample rate of a sound if nothing names another, per second.
SOUND_RATE = 16_000
BYTES = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class File:
    """A file of a job, or of a result.

    data: its content.  media_type: such as `image/png`.  suffix: such as `.png`, or "".
    """

    data: bytes
    media_type: str = BYTES
    suffix: str = ""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.is_instance_schema(cls)


@dataclass(frozen=True, slots=True)
class Audio:
    """A sound: `samples` is a numpy array of floats from -1 to 1, `rate` how many are a second."""

    samples: Any
    rate: int = SOUND_RATE

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.is_instance_schema(cls)


def file_of(output: object) -> File | None:
    """Return an output that is a picture, a sound or a file as a file; None for all others."""
    match output:
        case File():
            return output
        case Audio(samples, rate):
            return File(write_wave(samples, rate), "audio/wav", ".wav")
        case os.PathLike():
            path = Path(output)
            return File(path.read_bytes(), mimetypes.guess_type(path.name)[0] or BYTES, path.suffix)
    if is_picture(type(output)):
        return _png(output)
    return None


def is_picture(kind: type) -> bool:
    """Return whether a class is Pillow's image, without importing Pillow."""
    return any((one.__module__, one.__qualname__) == ("PIL.Image", "Image") for one in kind.__mro__)


def as_data_url(file: File) -> str:
    """Return a file as a text, for JSON."""
    return f"data:{file.media_type};base64,{base64.b64encode(file.data).decode()}"


def _png(image: Any) -> File:
    written = io.BytesIO()
    # Modes that PNG does not know, such as CMYK or floats.
    known = image.mode in ("1", "L", "LA", "I", "I;16", "P", "RGB", "RGBA")
    (image if known else image.convert("RGB")).save(written, "PNG")
    return File(written.getvalue(), "image/png", ".png")
