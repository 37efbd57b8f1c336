"""The events of a media stream: a server's objects as they came, or an engine's text in pieces."""

import json
from typing import Any

from client_sdk.wire import events as wire
from client_sdk.wire.chunks import ChunkReader
from queue_service.store.ticket import Event
from queue_service.web.openai.answers import as_data
from queue_service.web.openai.transcript import Diverged, Transcript

Json = dict[str, Any]
_READ = json.JSONDecoder()


class EventObjects:
    """What was sent of a stream, so that another attempt can continue it.

    are_objects: the engine yields objects; otherwise text.
    """

    def __init__(self) -> None:
        self.are_objects = False
        self._attempt = 0
        self._reader = ChunkReader()
        self._text = Transcript()
        self._rest = ""
        self._has_begun = False
        self._sent: list[Json] = []
        self._at = 0

    @property
    def text(self) -> str:
        """The text that was sent."""
        return self._text.text(0, "text")

    def feed(self, event: Event, type_of_text: str) -> bytes:
        """Return what an event of the engine adds to the stream.

        type_of_text: of the events that a piece of text becomes.  Raises Diverged when this attempt
        differs from what the client has read, and BadChunk for an invalid event.
        """
        if event.kind == wire.ATTEMPT or event.attempt != self._attempt:
            self._attempt, self._reader = event.attempt, ChunkReader()
            self._text.begin_attempt()
            self._rest, self._at, self._has_begun = "", 0, False
        added = b""
        for piece in self._reader.read(event.data, event.chunks):
            if not isinstance(piece, str):
                raise Diverged
            added += self._add(piece, type_of_text)
        return added

    def end(self) -> None:
        """The stream has ended; raises Diverged if the client has read more than there is."""
        if self._text.is_behind or self._at < len(self._sent):
            raise Diverged

    def _add(self, piece: str, type_of_text: str) -> bytes:
        if not self._has_begun:
            self._has_begun = True
            self.are_objects = piece.lstrip()[:1] == "{"
        if not self.are_objects:
            new = self._text.add(0, "text", piece)
            return as_data({"type": type_of_text, "delta": new}) if new else b""
        self._rest += piece
        added = b""
        while rest := self._rest.lstrip():
            try:
                found, end = _READ.raw_decode(rest)
            except (ValueError, RecursionError):
                break
            self._rest = rest[end:]
            added += self._send(found)
        return added

    def _send(self, found: Json) -> bytes:
        if self._at < len(self._sent):
            if self._sent[self._at] != found:
                raise Diverged
            self._at += 1
            return b""
        self._sent.append(found)
        self._at += 1
        return as_data(found)
