"""Chats for a pipeline: texts stay unchanged; images, sounds and films are decoded.

A part has the format of the library, `{"type": "image", "url": ...}`, or of OpenAI's clients,
`{"type": "image_url", "image_url": {"url": ...}}`.  In both the URL must be a data URL.
"""

from typing import Any

from inference_worker.engines.failures import BadInput
from inference_worker.engines.transformers.media import Media

#: Most messages of a chat, and most parts of a message.
MOST_MESSAGES = 2048

#: The allowed fields of a message.  The library opens none of them; only the model's template reads
#: them.
_SPOKEN = frozenset({"role", "content", "name", "tool_calls", "tool_call_id", "reasoning_content"})

#: By the type of a part: its medium, and the allowed names of its data.
_PARTS = {
    "image": ("image", ("image", "url", "base64")),
    "image_url": ("image", ("image_url",)),
    "audio": ("audio", ("audio", "url", "base64")),
    "input_audio": ("audio", ("input_audio",)),
    "audio_url": ("audio", ("audio_url",)),
    "video": ("video", ("video", "url")),
    "video_url": ("video", ("video_url",)),
}


def is_chat(value: Any) -> bool:
    """Return whether the library would treat this as a chat."""
    first = value[0] if isinstance(value, list) and value else None
    return isinstance(first, dict) and "role" in first and "content" in first


def read_chat(value: Any, where: str, media: Media, *, rate: int) -> list[dict[str, Any]]:
    """Return the messages of a chat; raises BadInput.  rate: sampling rate of its sounds."""
    if not is_chat(value) or len(value) > MOST_MESSAGES:
        raise BadInput(f"{where}: expected 1 to {MOST_MESSAGES} messages with role and content")
    return [
        _message(message, f"{where}.{index}", media, rate) for index, message in enumerate(value)
    ]


def _message(message: Any, where: str, media: Media, rate: int) -> dict[str, Any]:
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        raise BadInput(f"{where}: expected a message with a role and a content")
    if unknown := set(message) - _SPOKEN:
        expected = ", ".join(sorted(_SPOKEN))
        raise BadInput(f"{where}: no {min(unknown)} here; it may have: {expected}")
    content = message.get("content")
    if isinstance(content, list):
        if len(content) > MOST_MESSAGES:
            raise BadInput(f"{where}.content: expected at most {MOST_MESSAGES} parts")
        content = [
            _part(part, f"{where}.content.{index}", media, rate)
            for index, part in enumerate(content)
        ]
    elif content is not None and not isinstance(content, str):
        raise BadInput(f"{where}.content: expected a text or a list of parts")
    return {**message, "content": content}


def _part(part: Any, where: str, media: Media, rate: int) -> dict[str, Any]:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "text" and isinstance(part.get("text"), str):
        return {"type": "text", "text": part["text"]}
    if not isinstance(kind, str) or kind not in _PARTS:
        expected = ", ".join(["text", *_PARTS])
        raise BadInput(f"{where}: expected a part with a type, one of: {expected}")
    medium, names = _PARTS[kind]
    given = [name for name in part if name != "type"]
    if len(given) != 1 or given[0] not in names:
        raise BadInput(f"{where}: expected {kind} data as {' or '.join(names)}, and nothing else")
    place = f"{where}.{given[0]}"
    value = _data_url(part[given[0]], given[0])
    match medium:
        case "image":
            decoded: Any = media.image(value, place)
        case "audio":
            decoded = media.sound(value, place, rate=rate)
        case _:
            decoded = media.film(value, place)
    return {"type": medium, medium: decoded}


def _data_url(value: Any, name: str) -> Any:
    """Return the data URL of a part, from any of the formats; other values are unchanged."""
    if name == "base64" and isinstance(value, str):
        return f"data:;base64,{value}"
    if isinstance(value, dict) and isinstance(value.get("url"), str):
        return value["url"]
    if isinstance(value, dict) and isinstance(value.get("data"), str):
        return f"data:;base64,{value['data']}"
    return value
