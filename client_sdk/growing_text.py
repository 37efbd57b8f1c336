"""A job's text, assembled from its events across attempts.  No I/O."""

import base64
import codecs

from client_sdk import errors
from client_sdk.job_calls import JobEvent


class GrowingText:
    """Returns only the new part of a text, even if a later attempt starts it again.

    given: all text returned so far.
    """

    def __init__(self) -> None:
        self.given = ""
        self._text = ""
        self._decoder = _decoder()

    def feed(self, event: JobEvent) -> str:
        """Process an event; return the text that it adds, often "".

        A new attempt usually repeats the text of the one before; no part is returned twice.  Raises
        TextChanged if the new text differs; call `start_over` to get it from its beginning.
        """
        if event.kind == "attempt":
            self._text, self._decoder = "", _decoder()
        if event.kind != "delta":
            return ""
        self._text += self._decoded(event)
        shared = min(len(self._text), len(self.given))
        if self._text[:shared] != self.given[:shared]:
            raise errors.TextChanged(
                "a new attempt of the job produces other text than what was already streamed"
            )
        piece = self._text[len(self.given) :]
        self.given += piece
        return piece

    def start_over(self) -> str:
        """Forget the returned text; return the text of the current attempt so far."""
        self.given = self._text
        return self.given

    def _decoded(self, event: JobEvent) -> str:
        # A piece that ends inside a character is sent as bytes, and so is the next one.
        if "base64" in event.data:
            return self._decoder.decode(base64.b64decode(event.data["base64"]))
        return self._decoder.decode(str(event.data.get("text", "")).encode())


def _decoder() -> codecs.IncrementalDecoder:
    return codecs.getincrementaldecoder("utf-8")("replace")
