"""Decodes images, sounds and films of a job, from bytes or data URLs, never from paths or
addresses.

Where the library expects media, it opens any text as a file or an address of this machine's
network. So no text of a job reaches it: everything is decoded here.  The decoded size is limited
too, because a few kilobytes can expand to an image of gigabytes.
"""

import base64
import contextlib
import io
import re
import subprocess
import tempfile
from typing import Any

from inference_worker.engines.failures import BadInput
from inference_worker.engines.wave_sound import read_wave

#: The most pixels of all images of one job together; 8,000 by 8,000.
MOST_PIXELS = 64_000_000

#: The same if the result has numbers for each pixel.  A model for 150 classes computes 600 bytes
#: per pixel, and one that finds masks 192 numbers.
MOST_PIXELS_OF_MAPS = 4_000_000

#: The largest ratio of an image's sides.  Models for small images enlarge the shorter side: a row
#: of a million pixels would become an image of gigabytes.
MOST_ASPECT = 100

#: The longest sound by default, in seconds.
DEFAULT_SOUND_S = 1800.0

#: How long the decoding of one sound may take, in seconds.
DECODING_S = 120.0

#: The accepted image formats.  Others need external programs (PostScript) or rarely used decoders,
#: which are more likely to have security holes.
IMAGE_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")

_DATA_URL = re.compile(r"data:[\w.+-]*/?[\w.+-]*(?:;[\w.+-]+=[^;,\s]*)*;base64,", re.ASCII | re.I)

#: ffmpeg's name of a format, by its first bytes.  The format is passed to ffmpeg, because otherwise
#: it also accepts playlists, which name files and addresses.
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
    """The media of one job; `close` frees them."""

    def __init__(
        self, *, most_pixels: int = MOST_PIXELS, longest_sound_s: float = DEFAULT_SOUND_S
    ) -> None:
        self._longest_sound_s = longest_sound_s
        self._pixels_left = most_pixels
        self._most_pixels = most_pixels
        self._files = contextlib.ExitStack()

    def image(self, value: Any, where: str) -> Any:
        """Return a Pillow image; raises BadInput."""
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
        # The size is in the file's header, so check it before decoding.
        sides = sorted((image.width, image.height))
        if sides[1] > MOST_ASPECT * sides[0]:
            expected = f"expected no side {MOST_ASPECT} times as long as the other"
            raise BadInput(f"{where}: {expected}, got {image.width} by {image.height} pixels")
        self._pixels_left -= image.width * image.height
        if self._pixels_left < 0:
            raise BadInput(self._too_many_pixels(where))
        try:
            # The library would do the same, but an error there would not look like bad input.
            return ImageOps.exif_transpose(image).convert("RGB")
        except Exception as error:
            raise BadInput(_broken(where, error)) from None

    def sound(self, value: Any, where: str, *, rate: int) -> Any:
        """Return a sound as numbers, `rate` per second; raises BadInput.

        A dict has the numbers: `{"raw": [0.1, ...], "sampling_rate": 16000}`.
        """
        if isinstance(value, dict):
            sound = _numbers(value, where, rate)
        else:
            data = data_of(value, where, "sound")
            if (plain := read_wave(data)) is not None and plain[0] == rate:
                # Needs no other program.
                return self._not_too_long(plain[1], where, rate)
            kind = _kind_of(data, where, films_only=False)
            # One more second than allowed, to detect that it is too long.
            sound = _decoded(data, kind, where, rate, most_s=self._longest_sound_s + 1)
        return self._not_too_long(sound, where, rate)

    def _not_too_long(self, sound: Any, where: str, rate: int) -> Any:
        if len(sound) > self._longest_sound_s * rate:
            expected = f"{where}: expected a sound of at most {self._longest_sound_s:g} s"
            raise BadInput(f"{expected}; the engine's option `max_sound_s` allows more")
        return sound

    def film(self, value: Any, where: str) -> str:
        """Return the path of a file with this film; raises BadInput."""
        data = data_of(value, where, "film")
        _kind_of(data, where, films_only=True)
        # A file without a name, so that nothing stays on the disk if this process is killed.
        file = self._files.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        file.write(data)
        file.flush()
        file.seek(0)
        return f"/dev/fd/{file.fileno()}"

    def close(self) -> None:
        """Close the files."""
        self._files.close()

    def _too_many_pixels(self, where: str) -> str:
        expected = f"{where}: expected images of at most {self._most_pixels} pixels in one job"
        return f"{expected}; the engine's option `max_pixels` allows more"


def data_of(value: Any, where: str, kind: str) -> bytes:
    """Return the bytes of a data URL, or bytes unchanged; raises BadInput."""
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
        # Without a header, both formats begin with a sync word of eleven or twelve bits.
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
    """Decode with ffmpeg like the library, but only as this format and with limits."""
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
    # A copy, because a view of bytes is read-only, and a model may write to it.
    return sound.copy()
