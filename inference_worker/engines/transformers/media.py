"""Images, sounds and films of a job: bytes, or data URLs, and never a path or an address.

The library opens whatever text it is given in the place of one of these, from the disk of this
machine or from its network.  So a text of a job never reaches it: each is decoded here.  What is
made of it is bounded too, because a few kilobytes can be a picture of gigabytes.
"""

import base64
import contextlib
import io
import re
import subprocess
import tempfile
from typing import Any

from inference_worker.engines.failures import BadInput

#: The most pixels of all images of one job together, as many as 8,000 by 8,000 have.
MOST_PIXELS = 64_000_000

#: The same where the answer has numbers for each pixel.  A model for 150 classes computes 600 bytes
#: for each pixel of the job, and one that finds masks 192 numbers.
MOST_PIXELS_OF_MAPS = 4_000_000

#: How many times as long as the other one a side of an image may be.  Models for small images
#: enlarge the shorter side: a row of a million pixels would become a picture of gigabytes.
MOST_ASPECT = 100

#: What is read of a sound, in seconds, when nobody says.
DEFAULT_SOUND_S = 1800.0

#: How long the decoding of one sound may take, in seconds.
DECODING_S = 120.0

#: The kinds of images that are read.  Others are read by programs (PostScript) or by code that is
#: hardly ever used.
IMAGE_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")

_DATA_URL = re.compile(r"data:[\w.+-]*/?[\w.+-]*(?:;[\w.+-]+=[^;,\s]*)*;base64,", re.ASCII | re.I)

#: By its first bytes, the name that ffmpeg has for a kind of sound or film.  ffmpeg is told the
#: kind, because by itself it also takes playlists, which name files and addresses.
_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"fLaC", "flac"),
    (0, b"OggS", "ogg"),
    (0, b"ID3", "mp3"),
    (0, b"#!AMR", "amr"),
    (0, b"FORM", "aiff"),
    (0, b"\x1a\x45\xdf\xa3", "matroska"),
    (4, b"ftyp", "mov"),
    (8, b"WAVE", "wav"),
    (8, b"AVI ", "avi"),
)
_FILMS = ("matroska", "mov", "avi")


class Media:
    """What one job brings along; `close` frees it."""

    def __init__(
        self, *, most_pixels: int = MOST_PIXELS, longest_sound_s: float = DEFAULT_SOUND_S
    ) -> None:
        self._longest_sound_s = longest_sound_s
        self._pixels_left = most_pixels
        self._most_pixels = most_pixels
        self._files = contextlib.ExitStack()

    def image(self, value: Any, where: str) -> Any:
        """Return an image of Pillow; raise BadInput."""
        data = data_of(value, where, "image")
        try:
            from PIL import Image, ImageOps, UnidentifiedImageError  # noqa: PLC0415 - an extra
        except ModuleNotFoundError:
            sentence = "this worker cannot read images: its machine needs `pip install pillow`"
            raise BadInput(sentence) from None
        kinds = ", ".join(IMAGE_FORMATS)
        try:
            image = Image.open(io.BytesIO(data), formats=IMAGE_FORMATS)
        except Image.DecompressionBombError:
            raise BadInput(self._too_many_pixels(where)) from None
        except UnidentifiedImageError:
            raise BadInput(f"{where}: expected an image ({kinds}), got other bytes") from None
        except Exception as error:
            raise BadInput(_broken(where, error)) from None
        # Known from the head, before anything is decoded.
        sides = sorted((image.width, image.height))
        if sides[1] > MOST_ASPECT * sides[0]:
            expected = f"expected no side {MOST_ASPECT} times as long as the other"
            raise BadInput(f"{where}: {expected}, got {image.width} by {image.height} pixels")
        self._pixels_left -= image.width * image.height
        if self._pixels_left < 0:
            raise BadInput(self._too_many_pixels(where))
        try:
            # As the library does, but here, where what is broken is known to be the job's.
            return ImageOps.exif_transpose(image).convert("RGB")
        except Exception as error:
            raise BadInput(_broken(where, error)) from None

    def sound(self, value: Any, where: str, *, rate: int) -> Any:
        """Return a sound as numbers, `rate` of them a second; raise BadInput.

        A dict gives them as they are: `{"raw": [0.1, ...], "sampling_rate": 16000}`.
        """
        if isinstance(value, dict):
            sound = _numbers(value, where, rate)
        else:
            data = data_of(value, where, "sound")
            kind = _kind_of(data, where, films_only=False)
            # One more second, to see that it is too long.
            sound = _decoded(data, kind, where, rate, most_s=self._longest_sound_s + 1)
        if len(sound) > self._longest_sound_s * rate:
            expected = f"{where}: expected a sound of at most {self._longest_sound_s:g} s"
            raise BadInput(f"{expected}; the engine's option `max_sound_s` allows more")
        return sound

    def film(self, value: Any, where: str) -> str:
        """Return the name of a file with this film, which nobody else finds; raise BadInput."""
        data = data_of(value, where, "film")
        _kind_of(data, where, films_only=True)
        # It has no name of its own, so that nothing of it stays when this process is killed.
        file = self._files.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        file.write(data)
        file.flush()
        file.seek(0)
        return f"/dev/fd/{file.fileno()}"

    def close(self) -> None:
        """Free what was decoded into files."""
        self._files.close()

    def _too_many_pixels(self, where: str) -> str:
        expected = f"{where}: expected images of at most {self._most_pixels} pixels in one job"
        return f"{expected}; the engine's option `max_pixels` allows more"


def data_of(value: Any, where: str, kind: str) -> bytes:
    """Return the bytes of a data URL, or bytes as they are; raise BadInput."""
    if isinstance(value, bytes):
        return value
    expected = f"{where}: expected a data URL of base64 (data:...;base64,...) with the {kind}"
    if not isinstance(value, str):
        raise BadInput(f"{expected}, got {type(value).__name__}")
    head = _DATA_URL.match(value)
    if head is None:
        raise BadInput(f"{expected}; a job cannot name files or addresses")
    try:
        data = base64.b64decode(value[head.end() :], validate=True)
    except ValueError:
        raise BadInput(f"{where}: the data URL holds no base64") from None
    if not data:
        raise BadInput(f"{where}: the data URL is empty")
    return data


def _broken(where: str, error: Exception) -> str:
    return f"{where}: the image cannot be read ({type(error).__name__})"


def _kind_of(data: bytes, where: str, *, films_only: bool) -> str:
    for at, signature, kind in _SIGNATURES:
        if data[at:].startswith(signature) and (kind in _FILMS or not films_only):
            return kind
    if not films_only and len(data) > 1 and data[0] == 0xFF and data[1] & 0xE0 == 0xE0:
        # Without a head both begin with a mark of eleven or twelve bits.
        return "aac" if data[1] & 0xF6 == 0xF0 else "mp3"
    known = sorted({kind for _, _, kind in _SIGNATURES if kind in _FILMS or not films_only})
    noun = "film" if films_only else "sound"
    raise BadInput(f"{where}: expected a {noun} ({', '.join(known)}), got other bytes")


def _numbers(value: dict[str, Any], where: str, rate: int) -> Any:
    import numpy  # noqa: PLC0415 - an extra

    if unknown := set(value) - {"raw", "array", "sampling_rate"}:
        raise BadInput(f"{where}: no {min(map(str, unknown))} here, but raw and sampling_rate")
    if value.get("sampling_rate") != rate:
        raise BadInput(f"{where}: expected a sampling_rate of {rate}, which is the model's")
    raw = value.get("raw", value.get("array"))
    is_flat = isinstance(raw, list) and all(type(one) in (int, float) for one in raw)
    if not is_flat or not raw:
        raise BadInput(f"{where}: expected raw to be a list of numbers")
    try:
        sound = numpy.asarray(raw, dtype=numpy.float32)
    except OverflowError:
        raise BadInput(f"{where}: a number is too large") from None
    if not numpy.isfinite(sound).all():
        raise BadInput(f"{where}: a number is too large")
    return sound


def _decoded(data: bytes, kind: str, where: str, rate: int, *, most_s: float) -> Any:
    """Decode as the library would, but as this kind alone and for no longer than may be."""
    import numpy  # noqa: PLC0415 - an extra

    command = ["ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "quiet"]
    command += ["-protocol_whitelist", "pipe", "-f", kind, "-i", "pipe:0", "-vn"]
    command += ["-t", f"{most_s:g}", "-ac", "1", "-ar", str(rate), "-f", "f32le", "pipe:1"]
    try:
        done = subprocess.run(
            command, input=data, stdout=subprocess.PIPE, check=False, timeout=DECODING_S
        )
    except subprocess.TimeoutExpired:
        raise BadInput(f"{where}: the sound was not decoded within {DECODING_S:g} s") from None
    except FileNotFoundError:
        raise BadInput("this worker cannot read sounds: its machine needs ffmpeg") from None
    sound = numpy.frombuffer(done.stdout[: len(done.stdout) // 4 * 4], numpy.float32)
    if not len(sound):
        raise BadInput(f"{where}: the sound cannot be read as {kind}")
    # Its own memory, because a view of bytes cannot be written to, and a model may want to.
    return sound.copy()
