"""The paths of OpenAI's media APIs, and which fields of their requests reach a handler.  Pure.

A field that the handler does not declare is left out only if that changes nothing: the queue
service does what the field asks for, or its value is the default behaviour.  Every other one
stays, and is refused as an unknown input, so that no parameter is ignored silently.
"""

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Any


class MediaPath(StrEnum):
    """The path of a job that came from a media API."""

    IMAGES = "v1/images/generations"
    EDITS = "v1/images/edits"
    TRANSCRIPTIONS = "v1/audio/transcriptions"
    TRANSLATIONS = "v1/audio/translations"
    SPEECH = "v1/audio/speech"
    VIDEOS = "v1/videos"

    @property
    def is_image(self) -> bool:
        """Whether the result is pictures."""
        return self in (MediaPath.IMAGES, MediaPath.EDITS)

    @property
    def is_text(self) -> bool:
        """Whether the result is the text of a sound."""
        return self in (MediaPath.TRANSCRIPTIONS, MediaPath.TRANSLATIONS)

    @property
    def main(self) -> str:
        """The field that a request must have besides the model."""
        if self.is_text:
            return "file"
        return "input" if self is MediaPath.SPEECH else "prompt"


PATHS = frozenset(str(path) for path in MediaPath)
FORM = "multipart/form-data"

#: The formats of pictures, texts and sounds that the queue service itself can answer with.
PICTURE_FORMATS = ("b64_json", "url")
TEXT_FORMATS = ("json", "text", "srt", "vtt", "verbose_json")
SOUND_FORMATS = ("mp3", "opus", "aac", "flac", "wav", "pcm")
#: Of these, the ones that it makes from a WAV file.
WAVE_FORMATS = ("wav", "pcm")

#: Fields that are numbers; a form has only texts.
WHOLE_NUMBERS = ("n", "output_compression", "partial_images")
NUMBERS = ("temperature", "speed")
FLAGS = ("stream",)

#: Values that ask for the default behaviour.
_NEUTRAL: Mapping[str, tuple[object, ...]] = {
    "n": (1,),
    "size": ("auto",),
    "quality": ("auto", "standard"),
    "background": ("auto",),
    "moderation": ("auto",),
    "output_format": ("png",),
    "output_compression": (100,),
    "partial_images": (0,),
    "voice": ("default",),
    "speed": (1,),
    "timestamp_granularities": (["segment"],),
}
#: Fields about the client and the answer, not about what is computed.
_OF_SERVICE = frozenset(("model", "user", "safety_identifier", "stream", "stream_format"))


def fitted(path: str, given: Mapping[str, Any], declared: Collection[str]) -> dict[str, Any]:
    """Return the fields for a handler with these inputs.

    The main field (`prompt`, `input`, `file`) goes to the first input, whatever its name is.
    """
    kind = MediaPath(path)
    fields = {
        name: value
        for name, value in given.items()
        if name in declared or not _is_done(kind, name, value)
    }
    first = next(iter(declared), "")
    if kind.main in fields and kind.main not in declared and first and first not in fields:
        fields[first] = fields.pop(kind.main)
    return fields


def _is_done(kind: MediaPath, name: str, value: object) -> bool:
    if name in _OF_SERVICE or value is None:
        return True
    if name == "response_format":
        known = PICTURE_FORMATS if kind.is_image else TEXT_FORMATS
        return value in (WAVE_FORMATS if kind is MediaPath.SPEECH else known)
    return value in _NEUTRAL.get(name, ())
