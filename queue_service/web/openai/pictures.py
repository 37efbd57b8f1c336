"""The pictures in an engine's result.  Pure."""

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

#: How the formats of pictures begin.
_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"RIFF", "image/webp"),
)
_DATA_URL = re.compile(r"data:(image/[\w.+-]+)(?:;[\w.+-]+=[^;,\s]*)*;base64,", re.ASCII | re.I)
#: What a result may report about all pictures.
_ABOUT = ("usage", "size", "quality", "background", "output_format")


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture; more: what the engine reports about it, such as `revised_prompt`."""

    data: bytes
    media_type: str
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def base64(self) -> str:
        """The content, for JSON."""
        return base64.b64encode(self.data).decode("ascii")


@dataclass(frozen=True, slots=True)
class Pictures:
    """The pictures of one result; about: what the engine reports about all."""

    listed: Sequence[Picture]
    about: Mapping[str, Any] = field(default_factory=dict)


def pictures_in(output: bytes, media_type: str, *, service: str) -> Pictures:
    """Read a result: a picture; a list of data URLs; or an object with such a list as `images`.

    An object may be OpenAI's, `{"data": [{"b64_json": ...}]}`.  Raises ValueError.
    """
    if media_type.startswith("image/"):
        return Pictures([Picture(output, media_type)])
    if found := type_of(output):
        return Pictures([Picture(output, found)])
    try:
        made = json.loads(output)
    except (ValueError, RecursionError):
        made = None
    about = made if isinstance(made, dict) else {}
    listed = about.get("data", about.get("images")) if isinstance(made, dict) else made
    parts = listed if isinstance(listed, list) else [listed]
    pictures = [_picture(part) for part in parts]
    found_all = [one for one in pictures if one is not None]
    if not found_all or len(found_all) < len(pictures):
        raise ValueError(
            f"{service} makes no pictures: expected from its engine a picture, a list of pictures "
            'as data URLs, or {"data": [{"b64_json": ...}]}'
        )
    return Pictures(found_all, {name: about[name] for name in _ABOUT if name in about})


def type_of(data: bytes) -> str:
    """Return the media type of a picture by its first bytes; "" if it is none."""
    for signature, media_type in _SIGNATURES:
        if data.startswith(signature) and (signature != b"RIFF" or data[8:12] == b"WEBP"):
            return media_type
    return ""


def _picture(part: Any) -> Picture | None:
    more: dict[str, Any] = {}
    if isinstance(part, dict):
        more = {name: part[name] for name in part if name not in ("b64_json", "url")}
        part = part.get("b64_json") or part.get("url")
    if not isinstance(part, str):
        return None
    head = _DATA_URL.match(part)
    try:
        data = base64.b64decode(part[head.end() :] if head else part, validate=True)
    except (binascii.Error, ValueError):
        return None
    media_type = head[1].lower() if head else type_of(data)
    return Picture(data, media_type, more) if data and media_type else None
