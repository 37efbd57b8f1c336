"""Files in JSON: from a data URL (RFC 2397) to a file, and back."""

import base64
import binascii
import mimetypes
import pathlib
import re
from dataclasses import dataclass
from urllib.parse import unquote, unquote_to_bytes

#: Types that Python 3.11 does not know, and that a system may not know either.
_MORE_TYPES = {
    ".avif": "image/avif",
    ".flac": "audio/flac",
    ".glb": "model/gltf-binary",
    ".heic": "image/heic",
    ".m4a": "audio/mp4",
    ".npy": "application/x-npy",
    ".ogg": "audio/ogg",
    ".safetensors": "application/x-safetensors",
    ".wav": "audio/wav",
    ".webm": "video/webm",
    ".webp": "image/webp",
    ".yaml": "application/yaml",
}

_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,16}")


class NoDataURL(ValueError):
    """The text is not a data URL; the message says why, without quoting the text."""


@dataclass(frozen=True, slots=True)
class File:
    """The content of a data URL.  suffix: such as `.png`; "" if name and type do not give one."""

    data: bytes
    media_type: str
    suffix: str


def decode(url: object) -> File:
    """Return the file in a data URL; raises NoDataURL."""
    if not isinstance(url, str) or url[:5].lower() != "data:":
        # Never open an address or a path: it would be read with the rights of this machine.
        raise NoDataURL("is no data URL (`data:image/png;base64,...`)")
    head, comma, encoded = url[5:].partition(",")
    if not comma:
        raise NoDataURL("is a data URL without a comma")
    media_type, *parameters = [part.strip() for part in head.split(";")]
    media_type = media_type.lower() or "text/plain"
    if parameters and parameters[-1].lower() == "base64":
        data = _from_base64(encoded)
    else:
        data = unquote_to_bytes(encoded)
    return File(data, media_type, _suffix_of(media_type, parameters))


def encode(data: bytes, name: str = "") -> str:
    """Return the data URL of a file; its type follows from the name."""
    media_type = _types().guess_type(name)[0] or "application/octet-stream"
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def _from_base64(encoded: str) -> bytes:
    # As lenient as browsers: `%2B` is `+`, the padding may be missing, and the URL-safe alphabet is
    # accepted.
    text = re.sub(r"\s", "", unquote(encoded)).rstrip("=").translate(str.maketrans("-_", "+/"))
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise NoDataURL("is not base64") from error


def _suffix_of(media_type: str, parameters: list[str]) -> str:
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.lower() in ("name", "filename"):
            suffix = pathlib.PurePosixPath(unquote(value).strip('"')).suffix
            if _SUFFIX.fullmatch(suffix):
                return suffix
    return _types().guess_extension(media_type) or ""


def _types() -> mimetypes.MimeTypes:
    types = mimetypes.MimeTypes()
    for suffix, media_type in _MORE_TYPES.items():
        types.add_type(media_type, suffix)
    return types
