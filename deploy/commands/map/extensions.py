"""The extension of a result: from its media type, or from its first bytes."""

import json
import mimetypes

#: What a result begins with, and the extension that this means.
_MAGIC = {
    b"\x89PNG\r\n\x1a\n": ".png",
    b"\xff\xd8\xff": ".jpg",
    b"GIF8": ".gif",
    b"%PDF-": ".pdf",
    b"PK\x03\x04": ".zip",
    b"\x1f\x8b": ".gz",
    b"OggS": ".ogg",
    b"fLaC": ".flac",
    b"ID3": ".mp3",
    b"\x1aE\xdf\xa3": ".webm",
    b"\x93NUMPY": ".npy",
}
#: The same for containers; their second word names the content.
_CONTAINED = {b"WAVE": ".wav", b"WEBP": ".webp", b"AVI ": ".avi"}
#: Types for which the standard library has another extension, or none.
_OF_TYPE = {
    "application/json": ".json",
    "application/x-ndjson": ".jsonl",
    "application/jsonl": ".jsonl",
    "text/plain": ".txt",
    "image/jpeg": ".jpg",
    "image/webp": ".webp",
    "audio/wav": ".wav",
    "audio/x-wav": ".wav",
    "audio/mpeg": ".mp3",
    "audio/flac": ".flac",
    "audio/ogg": ".ogg",
    "video/mp4": ".mp4",
}
_ANY = "application/octet-stream"
#: The extension of an unknown type.
UNKNOWN = ".bin"
#: As much of a result as `extension_of` wants to see, in bytes.
LOOK_BYTES = 64 * 1024


def extension_of(content_type: str, begin: bytes, *, is_whole: bool) -> str:
    """Return the extension, with its dot.

    begin: the first bytes of the result; is_whole: whether it has no more.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind and kind != _ANY:
        return _OF_TYPE.get(kind) or mimetypes.guess_extension(kind) or UNKNOWN
    for magic, extension in _MAGIC.items():
        if begin.startswith(magic):
            return extension
    if begin.startswith(b"RIFF"):
        return _CONTAINED.get(begin[8:12], UNKNOWN)
    if begin[4:8] == b"ftyp":
        return ".mp4"
    return _text_extension(begin, is_whole=is_whole)


def _text_extension(begin: bytes, *, is_whole: bool) -> str:
    try:
        text = begin.decode()
    except UnicodeDecodeError as error:
        # The last character may be cut.
        if is_whole or error.start < len(begin) - 4:
            return UNKNOWN
        text = begin[: error.start].decode()
    if "\0" in text:
        return UNKNOWN
    if is_whole:
        try:
            json.loads(text)
        except (ValueError, RecursionError):
            return ".txt"
        return ".json"
    return ".json" if text.lstrip()[:1] in ("{", "[") else ".txt"
