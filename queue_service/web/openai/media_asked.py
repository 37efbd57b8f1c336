"""The part of a media request that the queue service understands.  Pure.

The rest is for the engine, which gets the body as it came.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from client_sdk.wire import media
from client_sdk.wire.media import MediaPath
from queue_service.errors import BadParameter

#: OpenAI's limit of pictures in one request.
MOST_PICTURES = 10
#: The least and the most of OpenAI's numbers.
_BOUNDS = {
    "n": (1, MOST_PICTURES),
    "temperature": (0, 2),
    "speed": (0.25, 4),
    "output_compression": (0, 100),
    "partial_images": (0, 3),
}


@dataclass(frozen=True, slots=True)
class MediaAsked:
    """One request.

    service: the request's `model` up to its first slash.  format: the wanted `response_format`, ""
    if there is none.  count: how many pictures; 0 if the request does not say.
    stream: the client wants events.  prompt, seconds, size: of a video, as they came.
    """

    path: MediaPath
    service: str
    model: str
    format: str = ""
    count: int = 0
    stream: bool = False
    prompt: str = ""
    seconds: str = ""
    size: str = ""


def service_of(model: object) -> str:
    """Return the service that a request's model names; raises BadParameter."""
    if not isinstance(model, str) or not model:
        raise BadParameter("model", "the name of a service", _came(model))
    return model.partition("/")[0]


def media_asked(
    path: MediaPath, fields: Mapping[str, Any], names: Collection[str] | None = None
) -> MediaAsked:
    """Read the fields of a request; raises BadParameter.

    names: of all fields, with those that are files; by default there are none of these.
    """
    service = service_of(fields.get("model"))
    if path.main not in (fields if names is None else names) or fields.get(path.main) == "":
        what = "the sound as a file" if path.is_text else "something to make"
        raise BadParameter(path.main, what, _came(fields.get(path.main)))
    for name, (least, most) in _BOUNDS.items():
        _number(fields, name, least, most)
    return MediaAsked(
        path=path,
        service=service,
        model=str(fields["model"]),
        format=_format(path, fields),
        count=int(_number(fields, "n", 1, MOST_PICTURES) or 0),
        stream=_flag(fields, "stream") or fields.get("stream_format") == "sse",
        prompt=_text(fields, "prompt"),
        seconds=_text(fields, "seconds"),
        size=_text(fields, "size"),
    )


def _format(path: MediaPath, fields: Mapping[str, Any]) -> str:
    wanted = fields.get("response_format")
    if wanted is None or path is MediaPath.VIDEOS:
        return ""
    if path is MediaPath.SPEECH:
        known: tuple[str, ...] = media.SOUND_FORMATS
    else:
        # A server may know further formats, such as `diarized_json`; they pass through.
        known = media.PICTURE_FORMATS if path.is_image else (*media.TEXT_FORMATS, "diarized_json")
    if wanted not in known:
        raise BadParameter("response_format", f"one of {', '.join(known)}", _came(wanted))
    return str(wanted)


def _number(fields: Mapping[str, Any], name: str, least: float, most: float) -> float | None:
    value = fields.get(name)
    if value is None:
        return None
    read: Callable[[Any], float] = int if name in media.WHOLE_NUMBERS else float
    try:
        number = read(value) if isinstance(value, str) else value
        if isinstance(number, bool) or number != read(number) or not least <= number <= most:
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        kind = "a whole number" if name in media.WHOLE_NUMBERS else "a number"
        raise BadParameter(name, f"{kind} from {least} to {most}", _came(value)) from None
    return read(number)


def _flag(fields: Mapping[str, Any], name: str) -> bool:
    value = fields.get(name)
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if value is not None and not isinstance(value, bool):
        raise BadParameter(name, "true or false", _came(value))
    return bool(value)


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise BadParameter(name, "a text", _came(value))


def _came(value: object) -> str:
    return "nothing" if value is None else repr(value)[:64]
