"""Responses of the media APIs from engines' results: pictures, transcripts, sounds.

What a server of OpenAI's API has made (a result with the type of JSON, of text or of events) passes
through as it came.
"""

import io
import time
import wave
from abc import ABC, abstractmethod
from typing import Any

from aiohttp import web

from client_sdk.wire import names
from client_sdk.wire.media import MediaPath
from queue_service.service.files import About, FileOwner
from queue_service.store.ticket import Event
from queue_service.web.address import Address
from queue_service.web.keys import ADDRESSES, FILES
from queue_service.web.openai import subtitles
from queue_service.web.openai.answers import DONE, as_data
from queue_service.web.openai.event_objects import EventObjects
from queue_service.web.openai.media_asked import MediaAsked
from queue_service.web.openai.pictures import Picture, pictures_in
from queue_service.web.openai.refusals import AnswerRefused
from queue_service.web.strict_json import json_response

Json = dict[str, Any]

#: How long a picture behind an address is kept, in seconds; OpenAI's are kept for an hour.
PICTURE_KEPT_S = 3600
#: The code of a request for a format that the engine does not make.
UNSUPPORTED = "unsupported_format"
_EVENTS = "text/event-stream"
_OWN_TYPES = (names.JSON, "application/x-subrip")
_WAVES = ("audio/wav", "audio/x-wav", "audio/wave", "audio/vnd.wave")
#: The media types of each format of sounds.
_SOUNDS = {
    "mp3": ("audio/mpeg", "audio/mp3"),
    "opus": ("audio/opus", "audio/ogg"),
    "aac": ("audio/aac",),
    "flac": ("audio/flac", "audio/x-flac"),
    "wav": _WAVES,
    "pcm": ("audio/pcm", "audio/l16"),
}
_BYTES = "application/octet-stream"


class _Answer(ABC):
    """What all have in common."""

    #: The type of the event that a piece of text becomes.
    _piece = "delta"

    def __init__(self, asked: MediaAsked) -> None:
        self.stream = asked.stream
        self._asked = asked
        self._events = EventObjects()

    def feed(self, event: Event) -> bytes:
        """Return what an event adds to the stream."""
        return self._events.feed(event, self._piece)

    def end(self, output: bytes, content_type: str, usage: Json) -> bytes:
        """Return the end of the stream."""
        self._events.end()
        if content_type == _EVENTS or self._events.are_objects:
            return DONE
        events = self._whole_events(output, content_type, usage)
        return b"".join(map(as_data, events)) + DONE

    @abstractmethod
    def _whole_events(self, output: bytes, content_type: str, usage: Json) -> list[Json]:
        """Return the events that say the whole result."""


def _unchanged(output: bytes, content_type: str, headers: dict[str, str]) -> web.Response:
    charset = "utf-8" if content_type.startswith("text/") else None
    return web.Response(body=output, content_type=content_type, charset=charset, headers=headers)


class PictureAnswer(_Answer):
    """Pictures, in base64 or behind addresses of this service."""

    def __init__(self, asked: MediaAsked, request: web.Request, owner: FileOwner) -> None:
        super().__init__(asked)
        self._files = request.app[FILES]
        self._address: Address = request.app[ADDRESSES].of(request)
        self._owner = owner

    async def whole(
        self, output: bytes, content_type: str, headers: dict[str, str]
    ) -> web.Response:
        """Return the response."""
        if content_type == names.JSON:
            return _unchanged(output, content_type, headers)
        found = self._read(output, content_type)
        data = [{**one.more, **await self._shown(one)} for one in found.listed]
        body = {"created": int(time.time()), "data": data, **found.about}
        return json_response(body, headers=headers)

    def _read(self, output: bytes, content_type: str) -> Any:
        asked = self._asked
        found = pictures_in(output, content_type, service=asked.service)
        if asked.count and len(found.listed) != asked.count:
            raise ValueError(f"n: expected {asked.count} pictures, got {len(found.listed)}")
        return found

    async def _shown(self, picture: Picture) -> Json:
        if self._asked.format != "url":
            return {"b64_json": picture.base64}
        name = f"image.{picture.media_type.partition('/')[2]}"
        about = About(name, "vision", picture.media_type, expires_in_s=PICTURE_KEPT_S)
        size = len(picture.data)
        async with await self._files.upload(self._owner, announced_bytes=size) as upload:
            await upload.write(picture.data)
            file = await upload.finish(about)
        return {"url": self._address.url(f"{names.FILES_PATH}/{file.id}/content")}

    def _whole_events(self, output: bytes, content_type: str, usage: Json) -> list[Json]:
        found = self._read(output, content_type)
        word = "edit" if self._asked.path is MediaPath.EDITS else "generation"
        return [
            {
                "type": f"image_{word}.completed",
                "created_at": int(time.time()),
                "b64_json": one.base64,
                "output_format": one.media_type.partition("/")[2],
                "size": self._asked.size or "auto",
                "quality": "auto",
                "background": "auto",
                **found.about,
            }
            for one in found.listed
        ]


class TextAnswer(_Answer):
    """The text of a sound, in each format."""

    _piece = "transcript.text.delta"

    async def whole(
        self, output: bytes, content_type: str, headers: dict[str, str]
    ) -> web.Response:
        """Return the response."""
        if content_type in _OWN_TYPES or content_type.startswith("text/"):
            return _unchanged(output, content_type, headers)
        heard, wanted = subtitles.heard_in(output), self._asked.format
        try:
            match wanted:
                case "text":
                    return _unchanged(heard.text.encode(), "text/plain", headers)
                case "srt":
                    text = subtitles.as_srt(heard).encode()
                    return _unchanged(text, "application/x-subrip", headers)
                case "vtt":
                    return _unchanged(subtitles.as_vtt(heard).encode(), "text/vtt", headers)
                case "verbose_json":
                    is_translation = self._asked.path is MediaPath.TRANSLATIONS
                    task = "translate" if is_translation else "transcribe"
                    return json_response(subtitles.as_verbose_json(heard, task), headers=headers)
                case "" | "json":
                    return json_response(subtitles.as_json(heard), headers=headers)
        except subtitles.NoTimes:
            raise _unsupported(
                f"expected json or text, because this service gives no times, got {wanted}"
            ) from None
        raise _unsupported(f"expected a format that this service makes, got {wanted}")

    def _whole_events(self, output: bytes, content_type: str, usage: Json) -> list[Json]:
        heard = subtitles.heard_in(output)
        events: list[Json] = []
        if not self._events.text:
            events.append({"type": self._piece, "delta": heard.text})
        done = {"type": "transcript.text.done", **subtitles.as_json(heard)}
        return [*events, done]


class SoundAnswer(_Answer):
    """A sound as it is; WAV also without its head."""

    async def whole(
        self, output: bytes, content_type: str, headers: dict[str, str]
    ) -> web.Response:
        """Return the response."""
        data, kind = self._made(output, content_type)
        return web.Response(body=data, headers={**headers, "Content-Type": kind})

    def _made(self, output: bytes, content_type: str) -> tuple[bytes, str]:
        wanted, kind = self._asked.format, content_type
        if not kind and output[:4] == b"RIFF" and output[8:12] == b"WAVE":
            kind = "audio/wav"
        if kind == _BYTES:
            # Of a server that says no more.
            return output, kind
        if not kind.startswith("audio/"):
            raise ValueError(
                f"{self._asked.service} makes no sound: expected from its engine a sound with its "
                f"type, such as audio/wav, got {kind or 'something without a type'}"
            )
        if not wanted or kind in _SOUNDS[wanted]:
            return output, "audio/wav" if kind in _WAVES else kind
        if wanted == "pcm" and kind in _WAVES:
            return _samples(output)
        made = next((name for name, kinds in _SOUNDS.items() if kind in kinds), kind)
        also = " or pcm" if made == "wav" else ""
        raise _unsupported(f"expected {made}{also}, which this service makes, got {wanted}")

    def _whole_events(self, output: bytes, content_type: str, usage: Json) -> list[Json]:
        data, _ = self._made(output, content_type)
        audio = Picture(data, "").base64
        return [
            {"type": "speech.audio.delta", "audio": audio},
            {"type": "speech.audio.done"},
        ]


def _samples(data: bytes) -> tuple[bytes, str]:
    """Return the samples of a WAV file, and their type."""
    try:
        with wave.open(io.BytesIO(data), "rb") as file:
            if file.getsampwidth() != 2:
                raise ValueError("expected a WAV file of 16 bits from the engine, got another")
            kind = f"audio/pcm; rate={file.getframerate()}; channels={file.getnchannels()}"
            return file.readframes(file.getnframes()), kind
    except (wave.Error, EOFError) as error:
        raise ValueError(f"expected a WAV file from the engine: {error}") from None


def _unsupported(sentence: str) -> AnswerRefused:
    reported = {"param": "response_format"}
    return AnswerRefused(400, UNSUPPORTED, f"response_format: {sentence}", reported=reported)
